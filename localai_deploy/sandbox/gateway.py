"""Servers of the machine made reachable for guests: a port inside the network, passed on to one outside."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field

from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.relay import enter, pump

_CONNECT_TIMEOUT_S = 10.0
_BACKLOG = 64

Address = tuple[str, int]


@dataclass
class Gateway:
    """Threads of this process; the listening socket is made inside `namespace`, all else stays outside.

    :param listen: an address of the namespace; port 0 takes a free one.
    :param forward_to: an address or a name as this machine knows it.
    """

    namespace: str
    listen: Address
    forward_to: Address
    _socket: socket.socket = field(init=False, repr=False)

    def start(self) -> None:
        """Listen; raises MachineError."""
        self._socket = listen_inside(self.namespace, self.listen)
        self.listen = self._socket.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop listening; connections go on until they end."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> Gateway:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, inner: socket.socket) -> None:
        with (
            contextlib.suppress(OSError),
            inner,
            socket.create_connection(self.forward_to, timeout=_CONNECT_TIMEOUT_S) as outer,
        ):
            outer.settimeout(None)
            back = threading.Thread(target=_pass_on, args=(outer, inner), daemon=True)
            back.start()
            _pass_on(inner, outer)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """One way until its end; where either side breaks off, both connections end."""
    try:
        pump(source.fileno(), target.fileno(), lambda: target.shutdown(socket.SHUT_WR))
    except OSError:
        for connection in (source, target):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def listen_inside(namespace: str, address: Address) -> socket.socket:
    """A listening socket that belongs to the namespace, for use from here; raises MachineError."""
    made: list[socket.socket] = []
    errors: list[OSError] = []

    def make() -> None:
        try:
            enter(namespace)
            made.append(socket.create_server(address, backlog=_BACKLOG))
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    if errors:
        raise MachineError(f"no port {address[1]} on {address[0]} in namespace {namespace}: {errors[0]}")
    return made[0]
