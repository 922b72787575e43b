"""Joins stdin and stdout to a TCP port of a network namespace: ssh's ProxyCommand for the guests.

A program by itself, run by its path (``python -I -S relay.py NAMESPACE HOST PORT``): it imports nothing of
the package, so that every connection costs little. As a module it gives its parts to `gateway`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable

_NEW_NET = 0x40000000
_CHUNK_BYTES = 1 << 16
_TIMEOUT_S = 10.0


def enter(namespace: str) -> None:
    """Move the calling thread into a network namespace; raises OSError."""
    descriptor = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _set_namespace(descriptor)
    finally:
        os.close(descriptor)


def _set_namespace(descriptor: int) -> None:
    if sys.version_info >= (3, 12):
        os.setns(descriptor, _NEW_NET)
        return
    import ctypes

    if ctypes.CDLL(None, use_errno=True).setns(descriptor, _NEW_NET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def pump(source: int, target: int, tell_end: Callable[[], object]) -> None:
    """Copy from one descriptor to another until the end, then tell that; raises OSError."""
    while chunk := os.read(source, _CHUNK_BYTES):
        left = memoryview(chunk)
        while left:
            left = left[os.write(target, left) :]
    tell_end()


def _join(connection: socket.socket) -> None:
    """Copy both ways until both have ended; raises OSError when the far side breaks off."""
    thread = threading.Thread(target=_send_stdin, args=(connection,), daemon=True)
    thread.start()
    pump(connection.fileno(), 1, lambda: os.close(1))
    thread.join()


def _send_stdin(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        pump(0, connection.fileno(), lambda: connection.shutdown(socket.SHUT_WR))


def main(namespace: str, host: str, port: str) -> int:
    """Be the relay; the exit status."""
    try:
        enter(namespace)
        connection = socket.create_connection((host, int(port)), timeout=_TIMEOUT_S)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _join(connection)
    except (OSError, ValueError) as error:
        print(f"relay to {host} port {port} in {namespace}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: relay.py NAMESPACE HOST PORT")
    status = main(*sys.argv[1:])
    sys.stderr.flush()
    os._exit(status)
