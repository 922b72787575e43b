"""A real OpenSSH server on loopback: own host keys, own authorised key, one more can be the jump host."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from localai_deploy.domain.connection import Connection
from localai_deploy.errors import LocalaiError
from localai_deploy.targets import open_target

ADDRESS = "127.0.0.1"
_START_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class SshServer:
    """A running server; everything of it lies in ``directory``."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def client_key(self) -> Path:
        return self.directory / "client"

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.directory / "host_ed25519.pub")

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def change_host_key(self) -> None:
        """Give the server another identity, as a reinstalled machine has."""
        (self.directory / "host_ed25519").unlink()
        make_key(self.directory / "host_ed25519")
        self.reload()

    def reload(self) -> None:
        """Let the server read its files again."""
        self.process.send_signal(signal.SIGHUP)
        _await_port(self.port)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=10)


def start_server(directory: Path, *, client_key: Path | None = None, more: str = "") -> SshServer:
    """Start a server in ``directory`` that lets the current user in with one key."""
    sshd = shutil.which("sshd") or "/usr/sbin/sshd"
    if not Path(sshd).exists():
        pytest.skip("no sshd here: apt install openssh-server, or bin/test --all")
    directory.mkdir(parents=True)
    make_key(directory / "host_ed25519")
    make_key(directory / "client")
    authorised = client_key or directory / "client"
    shutil.copy(authorised.with_name(authorised.name + ".pub"), directory / "authorized_keys")
    port = free_port()
    (directory / "sshd_config").write_text(_config(directory, port) + more)
    command = [sshd, "-D", "-e", "-f", str(directory / "sshd_config")]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, stdin=subprocess.DEVNULL)
    _await_port(port)
    return SshServer(directory, port, process)


def make_key(path: Path, key_type: str = "ed25519") -> None:
    path.with_name(path.name + ".pub").unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", key_type, "-N", "", "-f", str(path)], check=True)


def fingerprint(public_key: Path) -> str:
    """As ssh-keygen prints it, which our own computation is held against."""
    printed = subprocess.run(
        ["ssh-keygen", "-lf", str(public_key)], capture_output=True, text=True, check=True
    )
    return printed.stdout.split()[1]


def connection_to(server: SshServer, **values: object) -> Connection:
    """A connection that vouches for the server's key and uses nothing of the user's configuration."""
    base = Connection(
        kind="ssh",
        destination=ADDRESS,
        user=getpass.getuser(),
        port=server.port,
        private_key_file=str(server.client_key),
        ssh_args=("-F", "none", "-o", "IdentitiesOnly=yes"),
        host_key=server.fingerprint,
    )
    return replace(base, **values)  # type: ignore[arg-type]


def refusal(connection: Connection) -> LocalaiError:
    """The error of a first connection that must not succeed."""
    target = open_target("box", connection)
    try:
        with pytest.raises(LocalaiError) as caught:
            target.connect().run(["true"])
        return caught.value
    finally:
        target.close()


def logins(server: SshServer) -> int:
    return server.log.count("Accepted publickey")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


def _config(directory: Path, port: int) -> str:
    return f"""\
ListenAddress {ADDRESS}
Port {port}
HostKey {directory}/host_ed25519
AuthorizedKeysFile {directory}/authorized_keys
PidFile {directory}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
AllowUsers {getpass.getuser()}
AcceptEnv LANG LC_*
MaxStartups 100
LogLevel VERBOSE
"""


def _await_port(port: int) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.settimeout(5)
            probe.connect((ADDRESS, port))
            if probe.recv(4) == b"SSH-":
                return
        time.sleep(0.05)
    raise TimeoutError(f"no SSH server on {ADDRESS}:{port} (of process {os.getpid()})")
