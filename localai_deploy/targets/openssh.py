"""The system's own OpenSSH: the user's configuration, agents and jump hosts work; host keys are ours."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from localai_deploy.domain.connection import Connection
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import Completed, raise_for_sudo, run_process, under_sudo

CONNECT_TIMEOUT_S = 15
CONNECTION_FAILURES = {
    "could not resolve hostname": "host-unknown",
    "name or service not known": "host-unknown",
    "remote host identification has changed": "host-key-changed",
    "host key verification failed": "host-key-unknown",
    "no matching host key": "host-unreachable",
    "permission denied": "ssh-auth-failed",
    "too many authentication failures": "ssh-auth-failed",
    "connection refused": "host-unreachable",
    "connection timed out": "host-unreachable",
    "no route to host": "host-unreachable",
    "network is unreachable": "host-unreachable",
    "operation timed out": "host-unreachable",
    "connection closed": "host-unreachable",
    "connection reset": "host-unreachable",
}
"""What ssh prints → our error; the first match counts."""

_HINT = {
    "host-unknown": "check the spelling, or add the host to ~/.ssh/config",
    "host-unreachable": "is the host up, and does its SSH server listen on that port?",
    "ssh-auth-failed": "try `ssh {display}`; name the user (USER@HOST) or load the key into the agent",
    "host-key-changed": "somebody may be in between: localai-deploy explain host-key-changed",
    "host-key-unknown": "localai-deploy explain host-key-unknown",
}


def known_hosts_file() -> Path:
    """Our own known_hosts: ``$XDG_CONFIG_HOME/localai-deploy/known_hosts``."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "localai-deploy" / "known_hosts"


def connection_options(connection: Connection) -> list[str]:
    """User, port, key and further options as ssh takes them."""
    words = ["-l", connection.user] if connection.user else []
    words += ["-p", str(connection.port)] if connection.port else []
    words += ["-i", connection.private_key_file] if connection.private_key_file else []
    return [*words, *connection.ssh_args]


def strict_options(known_hosts: Path) -> list[str]:
    """Only keys of our own file count, and nothing is ever added to it by ssh."""
    return [
        *("-o", f"UserKnownHostsFile={known_hosts}"),
        *("-o", "GlobalKnownHostsFile=/dev/null"),
        *("-o", "StrictHostKeyChecking=yes"),
        *("-o", "UpdateHostKeys=no"),
        *("-o", "HashKnownHosts=no"),
        *("-o", "VerifyHostKeyDNS=no"),
    ]


class OpenSsh:
    """Runs commands over one shared connection (ControlMaster in a private directory)."""

    def __init__(self, connection: Connection, *, password: str = "") -> None:
        self._connection = connection
        self._password = password
        self._directory = tempfile.TemporaryDirectory(prefix="lad-", dir=_short_directory())
        self.display = connection.display

    @property
    def options(self) -> list[str]:
        """Options for every connection to this host, Ansible's too."""
        return [
            *strict_options(known_hosts_file()),
            *("-o", "ControlMaster=auto"),
            *("-o", f"ControlPath={self._directory.name}/%C"),
            *("-o", "ControlPersist=120"),
            *("-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}"),
            *("-o", "ServerAliveInterval=15"),
            *("-o", "ServerAliveCountMax=4"),
        ]

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", sudo: bool = False, timeout_s: float = 60
    ) -> Completed:
        """See :class:`localai_deploy.targets.executor.Executor`."""
        words = list(argv)
        if sudo:
            words, stdin = under_sudo(argv, stdin, self._password)
        done = run_process(self._command(words), stdin=stdin, timeout_s=timeout_s, display=self.display)
        if done.returncode == 255:
            raise connection_error(done.stderr.decode(errors="replace"), self.display)
        if sudo:
            raise_for_sudo(done, self.display)
        return done

    def open(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """See :class:`localai_deploy.targets.executor.Executor`."""
        return subprocess.Popen(
            self._command(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def _command(self, argv: Sequence[str]) -> list[str]:
        connection = self._connection
        return [
            *("ssh", "-T", "-o", "BatchMode=yes"),
            *self.options,
            *connection_options(connection),
            *("--", connection.destination, shlex.join(argv)),
        ]

    def close(self) -> None:
        """End the shared connection and remove its socket."""
        words = ["ssh", *self.options, *connection_options(self._connection), "-O", "exit"]
        subprocess.run([*words, "--", self._connection.destination], capture_output=True, check=False)
        self._directory.cleanup()


def connection_error(stderr: str, display: str) -> LocalaiError:
    """What ssh said when no connection came about, as our error."""
    text = stderr.lower()
    error_id = next(
        (value for mark, value in CONNECTION_FAILURES.items() if mark in text), "host-unreachable"
    )
    lines = [line for line in stderr.strip().splitlines() if line.strip() and not line.startswith("@")]
    return LocalaiError(
        error_id,
        f"no SSH connection to {display}",
        why=lines[-1].strip() if lines else "ssh said nothing",
        hint=_HINT[error_id].format(display=display),
    )


def _short_directory() -> str | None:
    """Socket paths are limited to 108 bytes: prefer the runtime directory, else the default."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return runtime if runtime and len(runtime) < 30 and os.access(runtime, os.W_OK) else None
