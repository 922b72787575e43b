"""Run a program that ends when the process that started it ends, however that ends.

ansible-runner starts its child so that a lost terminal does not stop it: without this, a killed run would
go on changing hosts that it no longer holds. Linux only; elsewhere the program runs as it is.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def bound_command(program: str) -> list[str]:
    """First words of a command that runs ``program`` bound to the thread that starts it."""
    return [sys.executable, "-I", __file__, str(os.getpid()), program]


def main() -> None:
    """Become the program that the arguments name, unless the starting process is gone already."""
    parent, program, *arguments = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(parent):
            sys.exit(os.EX_TEMPFAIL)
    os.execv(program, [program, *arguments])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
