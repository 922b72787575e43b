"""Run the model store's script and die at its Nth step in the store: ``die_at.py N SCRIPT DIR ARGS…``.

A step is whatever Python reports as an audit event that names a path of the store (open, rename, remove …)
or changes an open file (truncate, chmod, lock). The process ends as by SIGKILL, just before it.
"""

from __future__ import annotations

import os
import runpy
import sys

NAMELESS = ("fcntl.flock", "os.truncate", "os.chmod", "os.utime")


def main() -> None:
    last, script, directory = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    steps = 0

    def count(event: str, args: tuple[object, ...]) -> None:
        nonlocal steps
        named = any(isinstance(arg, str | os.PathLike) and directory in os.fspath(arg) for arg in args)
        if event in NAMELESS or (named and event != "os.listdir"):
            steps += 1
            if steps == last:
                os._exit(137)

    sys.argv = [script, *sys.argv[4:]]
    sys.addaudithook(count)
    runpy.run_path(script, run_name="__main__")


main()
