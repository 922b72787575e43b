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


def copy(source: int, target: int) -> None:
    """Copy from one descriptor to another until the end; raises OSError."""
    while chunk := os.read(source, _CHUNK_BYTES):
        left = memoryview(chunk)
        while left:
            left = left[os.write(target, left) :]


def join(connection: socket.socket, source: int, target: int) -> None:
    """Copy both ways until both have ended; the end of one way is passed on while the other goes on."""
    thread = threading.Thread(target=_send, args=(connection, source), daemon=True)
    thread.start()
    copy(connection.fileno(), target)
    os.close(target)
    thread.join()


def _send(connection: socket.socket, source: int) -> None:
    with contextlib.suppress(OSError):
        copy(source, connection.fileno())
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_WR)


def main(namespace: str, host: str, port: str) -> int:
    """Be the relay; the exit status."""
    try:
        enter(namespace)
        connection = socket.create_connection((host, int(port)), timeout=_TIMEOUT_S)
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        join(connection, 0, 1)
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
