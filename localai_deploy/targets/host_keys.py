"""Know a host's key before the first connection.

The key is fetched by ssh itself, so jump hosts and aliases of the user's configuration apply, but
without any authentication: nothing of ours is sent before the key is accepted.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localai_deploy.domain.connection import Connection
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import run_process
from localai_deploy.targets.openssh import (
    CONNECT_TIMEOUT_S,
    connection_error,
    connection_options,
    known_hosts_file,
)


@dataclass(frozen=True, slots=True)
class HostKey:
    """One line of a known_hosts file: ``host`` as ssh looks it up."""

    host: str
    key_type: str
    key: str

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` as ``ssh-keygen -l`` prints it."""
        digest = hashlib.sha256(base64.b64decode(self.key)).digest()
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def line(self) -> str:
        """The line for a known_hosts file."""
        return f"{self.host} {self.key_type} {self.key}\n"


def parse_known_hosts(text: str) -> tuple[HostKey, ...]:
    """Plain entries of a known_hosts file; hashed, marked and broken lines are left out."""
    keys: list[HostKey] = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 3 and not fields[0].startswith(("#", "@", "|")):
            keys.extend(HostKey(host, fields[1], fields[2]) for host in fields[0].split(","))
    return tuple(keys)


def require_known(connection: Connection) -> None:
    """Make sure that ssh will find the host's key in our file, accepting only a vouched one.

    :raises LocalaiError: ``host-key-unknown``, ``host-key-changed``, ``host-key-mismatch``, or why
        the host cannot be reached.
    """
    offered = fetch_key(connection)
    known = [key for key in _read(known_hosts_file()) if key.host == offered.host]
    if any((key.key_type, key.key) == (offered.key_type, offered.key) for key in known):
        return
    if any(key.key_type == offered.key_type for key in known):
        raise _changed(connection, offered, [key for key in known if key.key_type == offered.key_type])
    if not connection.host_key:
        raise _unknown(connection, offered)
    if connection.host_key != offered.fingerprint:
        raise LocalaiError(
            "host-key-mismatch",
            f"{connection.display} offers another key than the one vouched for",
            why=f"offered {offered.fingerprint} ({offered.key_type}), expected {connection.host_key}",
            hint="compare on the host's own console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        )
    add(offered)


def fetch_key(connection: Connection) -> HostKey:
    """The key that the host offers now.

    :raises LocalaiError: ``host-unknown``, ``host-unreachable``.
    """
    with tempfile.TemporaryDirectory(prefix="lad-key-") as directory:
        file = Path(directory) / "known_hosts"
        command = [
            *("ssh", "-T", "-o", "BatchMode=yes"),
            *("-o", f"UserKnownHostsFile={file}", "-o", "GlobalKnownHostsFile=/dev/null"),
            *("-o", "StrictHostKeyChecking=accept-new", "-o", "HashKnownHosts=no"),
            *("-o", "UpdateHostKeys=no", "-o", "VerifyHostKeyDNS=no"),
            *("-o", "PreferredAuthentications=none", "-o", "ControlMaster=no", "-o", "ControlPath=none"),
            *("-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}"),
            *connection_options(connection),
            *("--", connection.destination, "true"),
        ]
        done = run_process(command, stdin=b"", timeout_s=4 * CONNECT_TIMEOUT_S, display=connection.display)
        keys = _read(file)
    if not keys:
        raise connection_error(done.stderr.decode(errors="replace"), connection.display)
    return keys[0]


def add(key: HostKey) -> None:
    """Add a key to our known_hosts; two runs at once do not disturb each other."""
    path = known_hosts_file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        if key in parse_known_hosts(text):
            return
        file.write(key.line if not text or text.endswith("\n") else f"\n{key.line}")


def _read(path: Path) -> tuple[HostKey, ...]:
    try:
        return parse_known_hosts(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()


def _unknown(connection: Connection, offered: HostKey) -> LocalaiError:
    hint = (
        "compare it on the host's own console: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\n"
        f"then run again with --accept-host-key {offered.fingerprint}\n"
        f"or set in the inventory: localai_host_key: {offered.fingerprint}"
    )
    if _user_knows(offered):
        hint = f"your own ~/.ssh/known_hosts has this very key for the host\n{hint}"
    return LocalaiError(
        "host-key-unknown",
        f"the SSH key of {connection.display} is not known yet",
        why=f"it offers {offered.key_type} {offered.fingerprint}",
        hint=hint,
    )


def _changed(connection: Connection, offered: HostKey, known: Iterable[HostKey]) -> LocalaiError:
    before = ", ".join(key.fingerprint for key in known)
    return LocalaiError(
        "host-key-changed",
        f"the SSH key of {connection.display} has changed",
        why=f"known {before}, offered {offered.fingerprint} ({offered.key_type})",
        hint=(
            "somebody may be in between: do not go on before you know why. If the host was reinstalled:\n"
            f"ssh-keygen -R '{offered.host}' -f {known_hosts_file()}"
        ),
    )


def _user_knows(offered: HostKey) -> bool:
    file = Path.home() / ".ssh" / "known_hosts"
    found = subprocess.run(
        ["ssh-keygen", "-F", offered.host, "-f", str(file)], capture_output=True, text=True, check=False
    )
    return offered.key in found.stdout.split()
