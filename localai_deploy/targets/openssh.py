"""The system's own OpenSSH: the user's configuration, agents and jump hosts work; host keys are ours."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from localai_deploy.domain.connection import Connection
from localai_deploy.errors import LocalaiError
from localai_deploy.scratch import ScratchDirectory, short_directory
from localai_deploy.targets.become import as_root, raise_for_sudo
from localai_deploy.targets.executor import (
    DEFAULT_TIMEOUT_S,
    Completed,
    missing_program,
    open_process,
    run_process,
)
from localai_deploy.targets.ssh_failures import connection_error

CONNECT_TIMEOUT_S = 15
LOGIN_TIMEOUT_S = 4.0 * CONNECT_TIMEOUT_S
"""Every jump host on the way may take one ``CONNECT_TIMEOUT_S``."""

PLAIN_SESSION = (
    *("-T", "-x", "-a"),
    *("-o", "BatchMode=yes"),
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "EscapeChar=none"),
    *("-o", "LogLevel=ERROR"),
    *("-o", "PermitLocalCommand=no"),
    *("-o", "RemoteCommand=none"),
    *("-o", "VisualHostKey=no"),
)
"""Nothing of the user's configuration that suits a terminal but not a program."""


_PREFIX = "lad-"
_SOCKET = "ssh"


def known_hosts_file() -> Path:
    """Our own known_hosts: ``$XDG_CONFIG_HOME/localai-deploy/known_hosts``."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "localai-deploy" / "known_hosts"


def ssh_environment() -> dict[str, str]:
    """The caller's environment, with messages in English and no window that asks for a password."""
    return {**os.environ, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}


def destination_words(connection: Connection) -> list[str]:
    """User, port, key, further options and the host, as ssh takes them."""
    words = ["-l", connection.user] if connection.user else []
    words += ["-p", str(connection.port)] if connection.port else []
    words += ["-i", connection.private_key_file] if connection.private_key_file else []
    return [*words, *connection.ssh_args, "--", connection.destination]


def known_hosts_options(file: Path, command: str = "none") -> list[str]:
    """Only keys of ``file``, and those that ``command`` prints, count; nobody is asked about others."""
    quoted = str(file).replace("%", "%%")
    return [
        *("-o", f'UserKnownHostsFile="{quoted}"'),
        *("-o", "GlobalKnownHostsFile=/dev/null"),
        *("-o", f"KnownHostsCommand={command}"),
        *("-o", "StrictHostKeyChecking=yes"),
        *("-o", "NoHostAuthenticationForLocalhost=no"),
        *("-o", "UpdateHostKeys=no"),
        *("-o", "HashKnownHosts=no"),
        *("-o", "VerifyHostKeyDNS=no"),
        *("-o", "CheckHostIP=no"),
    ]


class OpenSsh:
    """Runs commands over one shared connection; its socket lies in a private directory."""

    def __init__(self, connection: Connection, *, password: str = "") -> None:
        self._connection = connection
        self._password = password
        self._directory: ScratchDirectory | None = None
        self._is_logged_in = False
        self.display = connection.display

    @property
    def options(self) -> list[str]:
        """Options for every connection to this host, Ansible's too."""
        return [
            *known_hosts_options(known_hosts_file()),
            *("-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}"),
            *("-o", "ServerAliveInterval=15"),
            *("-o", "ServerAliveCountMax=4"),
        ]

    @property
    def sharing_options(self) -> list[str]:
        """Options that share the connection as long as this object is open."""
        if not self._directory:
            self._directory = ScratchDirectory(
                _PREFIX, short_directory(len("lad-XXXXXXXX/ssh")), _end_connection
            )
        return [
            *("-o", "ControlMaster=auto"),
            *("-o", f"ControlPath={self._directory.path / _SOCKET}"),
            *("-o", "ControlPersist=120"),
        ]

    def connect(self) -> None:
        """Log in, unless that was done.

        :raises LocalaiError: ``host-unknown``, ``host-unreachable``, ``host-key-unknown``,
            ``jump-host-key-unknown``, ``ssh-auth-failed``, ``ssh-missing``.
        """
        if self._is_logged_in:
            return
        command = self._ssh("-f", "-N")
        with tempfile.TemporaryFile() as stderr:
            status = self._log_in(command, stderr.fileno())
            stderr.seek(0)
            said = stderr.read().decode(errors="replace")
        if status != 0:
            raise connection_error(said, self.display)
        self._is_logged_in = True

    def _log_in(self, command: Sequence[str], stderr: int) -> int:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                timeout=LOGIN_TIMEOUT_S,
                check=False,
                start_new_session=True,
                env=ssh_environment(),
            )
        except subprocess.TimeoutExpired as error:
            said = f"connection timed out after {LOGIN_TIMEOUT_S:.0f} s"
            raise connection_error(said, self.display) from error
        except FileNotFoundError as error:
            raise missing_program("ssh") from error
        return done.returncode

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        sudo: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Completed:
        """See :class:`localai_deploy.targets.executor.Executor`."""
        self.connect()
        words, sent = as_root(argv, stdin, self._password) if sudo else (list(argv), stdin)
        done = run_process(
            [*self._ssh(), shlex.join(words)],
            stdin=sent,
            timeout_s=timeout_s,
            display=self.display,
            environment=ssh_environment(),
        )
        if done.returncode == 255 and not self._is_connected():
            self._is_logged_in = False
            raise connection_error(done.stderr.decode(errors="replace"), self.display)
        if sudo:
            raise_for_sudo(done.returncode, done.stderr, self.display)
        return done

    def open(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        """See :class:`localai_deploy.targets.executor.Executor`."""
        self.connect()
        return open_process([*self._ssh(), shlex.join(argv)], environment=ssh_environment())

    def close(self) -> None:
        """End the shared connection and remove its socket."""
        if self._directory:
            self._directory.remove()
            self._directory = None
            self._is_logged_in = False

    def _is_connected(self) -> bool:
        return self._control("check").returncode == 0

    def _control(self, request: str) -> Completed:
        return run_process(
            self._ssh("-O", request),
            timeout_s=CONNECT_TIMEOUT_S,
            display=self.display,
            environment=ssh_environment(),
        )

    def _ssh(self, *mode: str) -> list[str]:
        return [
            "ssh",
            *PLAIN_SESSION,
            *self.options,
            *self.sharing_options,
            *mode,
            *destination_words(self._connection),
        ]


def _end_connection(directory: Path) -> None:
    """End the connection that is shared through a directory, also one that outlived its run."""
    with contextlib.suppress(LocalaiError):
        run_process(
            ["ssh", "-F", "/dev/null", "-S", str(directory / _SOCKET), "-O", "exit", "--", "nobody"],
            timeout_s=CONNECT_TIMEOUT_S,
            display=str(directory),
            environment=ssh_environment(),
        )
