"""The relay program and the gateway on loopback; namespaces are left to the integration tests."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localai_deploy.sandbox import gateway, relay
from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.gateway import Gateway

WITHOUT_NAMESPACE = (
    "import sys, runpy; sys.argv = sys.argv[1:]; import relay; relay.enter = lambda name: None"
)
PROGRAM = f"{WITHOUT_NAMESPACE}; code = relay.main(*sys.argv); sys.stderr.flush(); relay.os._exit(code)"


def relay_to(port: int) -> subprocess.Popen[bytes]:
    """The program as ssh starts it, but in the namespace where it is."""
    folder = Path(relay.__file__).parent
    setup = f"import sys; sys.path.insert(0, {str(folder)!r}); {PROGRAM}"
    return subprocess.Popen(
        [sys.executable, "-S", "-c", setup, "nowhere", "127.0.0.1", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextmanager
def server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Serves one connection after the other; the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def answer_after_the_end(connection: socket.socket) -> None:
    connection.sendall(b"got %d" % len(read_all(connection)))


def echo(connection: socket.socket) -> None:
    while chunk := connection.recv(1 << 16):
        connection.sendall(chunk)


def greet_and_listen(connection: socket.socket) -> None:
    connection.sendall(b"bye")
    connection.shutdown(socket.SHUT_WR)
    read_all(connection)


def reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_the_answer_comes_after_the_end_of_the_question() -> None:
    with server(answer_after_the_end) as port, relay_to(port) as process:
        out, _ = process.communicate(b"x" * 3_000_000, timeout=20)
    assert out == b"got 3000000"
    assert process.returncode == 0


def test_both_ways_at_once() -> None:
    data = bytes(range(256)) * 20_000
    with server(echo) as port, relay_to(port) as process:
        out, _ = process.communicate(data, timeout=20)
    assert out == data


def test_the_far_end_of_speech_is_passed_on_while_we_still_speak() -> None:
    with server(greet_and_listen) as port, relay_to(port) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.read() == b"bye"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=10) == 0


def test_a_connection_that_is_reset_is_an_error() -> None:
    with server(reset) as port, relay_to(port) as process:
        assert process.stdin is not None and process.stderr is not None
        process.stdin.write(b"x")
        process.stdin.flush()
        assert process.wait(timeout=10) == 1
        assert b"reset" in process.stderr.read()


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with relay_to(port) as process:
            _, error = process.communicate(timeout=10)
    assert process.returncode == 1
    assert error.decode().startswith(f"relay to 127.0.0.1 port {port} in nowhere: ")


def test_a_namespace_that_is_not_there() -> None:
    argv = [sys.executable, "-I", "-S", relay.__file__, "localai-none", "127.0.0.1", "22"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("relay to 127.0.0.1 port 22 in localai-none: ")


def test_it_starts_fast_and_alone() -> None:
    argv = [sys.executable, "-I", "-S", relay.__file__, "localai-none", "127.0.0.1", "22"]

    def once() -> float:
        began = time.monotonic()
        subprocess.run(argv, capture_output=True)
        return time.monotonic() - began

    assert min(once() for _ in range(5)) < 0.5


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "enter", lambda namespace: None)


@pytest.mark.usefixtures("here")
def test_a_gateway_passes_on_both_ways() -> None:
    with (
        server(answer_after_the_end) as port,
        Gateway("here", ("127.0.0.1", 0), ("localhost", port)) as passing,
        socket.create_connection(passing.listen, timeout=10) as connection,
    ):
        connection.sendall(b"x" * 1_000_000)
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b"got 1000000"


@pytest.mark.usefixtures("here")
def test_a_gateway_to_nobody_hangs_up() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with (
            Gateway("here", ("127.0.0.1", 0), unused.getsockname()) as passing,
            socket.create_connection(passing.listen, timeout=10) as connection,
        ):
            assert read_all(connection) == b""


@pytest.mark.usefixtures("here")
def test_a_closed_gateway_takes_no_connection() -> None:
    passing = Gateway("here", ("127.0.0.1", 0), ("127.0.0.1", 9))
    passing.start()
    passing.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(passing.listen, timeout=10)


def test_a_gateway_in_a_namespace_that_is_not_there() -> None:
    with pytest.raises(MachineError, match="localai-none"):
        Gateway("localai-none", ("127.0.0.1", 0), ("127.0.0.1", 9)).start()
