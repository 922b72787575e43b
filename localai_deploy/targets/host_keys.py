"""Know a host's key before anybody logs in there.

What is known is decided without the network. A key that is not known is fetched by ssh itself, so
jump hosts and aliases of the user's configuration apply; ssh then refuses it, before anything is sent
that the host could keep: no login is tried, not even the user's name is told.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localai_deploy.directory_lock import locked
from localai_deploy.domain.connection import Connection
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import Completed, run_process
from localai_deploy.targets.openssh import (
    CONNECT_TIMEOUT_S,
    LOGIN_TIMEOUT_S,
    PLAIN_SESSION,
    destination_words,
    known_hosts_file,
    known_hosts_options,
    ssh_environment,
)
from localai_deploy.targets.ssh_failures import connection_error

_CONSOLE = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
_TOLD = "LOCALAI_DEPLOY_OFFERED_KEY"
_TELL = f"""/bin/sh -c 'test "$1" = NONE || echo "$2" "$1" "$3" >>"${_TOLD}"' sh %t %H %K"""
"""What ssh asks for known keys of a host; it knows none, and writes down which key was offered.

``NONE`` is offered when ssh only wants to know which algorithms it should prefer.
"""
_LOST = ("KnownHostsCommand failed", "Host key verification failed.")
"""What ssh says, or ends with, when it lost the command that notes the key; a jump host's says more."""
ATTEMPTS = 5
_PAUSE_S = 0.3
_CERTIFICATE = "-cert-v01@openssh.com"
_NO_CERTIFICATE = ("-o", f"HostKeyAlgorithms=-*{_CERTIFICATE}")
_AUTHORITY = "@cert-authority"


@dataclass(frozen=True, slots=True)
class HostKey:
    """One line of a known_hosts file; ``host`` as ssh looks it up (or its hash), ``key`` in base64."""

    host: str
    key_type: str
    key: str

    @property
    def fingerprint(self) -> str:
        """``SHA256:…`` as ``ssh-keygen -l`` prints it; empty for a broken line."""
        try:
            digest = hashlib.sha256(base64.b64decode(self.key, validate=True)).digest()
        except binascii.Error:
            return ""
        return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")

    @property
    def line(self) -> str:
        """The line for a known_hosts file."""
        return f"{self.host} {self.key_type} {self.key}\n"


def parse_known_hosts(text: str) -> tuple[HostKey, ...]:
    """Entries of a known_hosts file, authorities too; comments and ``@revoked`` lines are left out."""
    lines = (line.removeprefix(_AUTHORITY).split() for line in text.splitlines())
    return tuple(
        HostKey(fields[0], fields[1], fields[2])
        for fields in lines
        if len(fields) >= 3 and fields[0][0] not in "#@"
    )


def require_known(connection: Connection) -> None:
    """Make sure that our file holds a key for the host, accepting only one that is vouched for.

    A vouched key replaces an older one of the same host.

    :raises LocalaiError: ``host-key-unknown``, ``host-key-mismatch``, ``ssh-config-invalid``, or why
        the host cannot be reached.
    """
    known = known_keys(lookup_name(connection))
    vouched = connection.host_key
    if vouched and vouched not in {key.fingerprint for key in known}:
        _accept(connection, fetch_key(connection))
    elif not known:
        raise _unknown(connection, fetch_key(connection))


def refused_key(connection: Connection) -> LocalaiError:
    """Tell why ssh refused a key although one is known: both are named."""
    offered = fetch_key(connection)
    before = ", ".join(key.fingerprint for key in known_keys(offered.host)) or "none"
    return LocalaiError(
        "host-key-changed",
        f"the SSH key of {connection.display} has changed",
        why=f"known is {before}, offered is {offered.key_type} {offered.fingerprint}",
        hint=(
            "somebody may be in between: do not go on before you know why\n"
            f"if the host was reinstalled, compare on its own console: {_CONSOLE}\n"
            f"then run again with --accept-host-key {offered.fingerprint}"
        ),
    )


def lookup_name(connection: Connection) -> str:
    """The name under which ssh looks the host's key up, after the user's configuration.

    :raises LocalaiError: ``ssh-config-invalid``, ``ssh-missing``.
    """
    done = _run(["ssh", "-G", *destination_words(connection)], connection)
    if done.returncode != 0:
        raise connection_error(f"terminating, {done.stderr.decode(errors='replace')}", connection.display)
    pairs = (line.partition(" ") for line in done.stdout.decode(errors="replace").splitlines())
    values = {key: value for key, _, value in pairs}
    if alias := values.get("hostkeyalias"):
        return alias.lower()
    host, port = values.get("hostname", connection.destination).lower(), values.get("port", "22")
    return host if port == "22" else f"[{host}]:{port}"


def known_keys(name: str, file: Path | None = None) -> tuple[HostKey, ...]:
    """Keys that ``file`` (ours, if none is given) holds for ``name``, also under hashes and patterns."""
    file = file or known_hosts_file()
    if not file.exists():
        return ()
    done = run_process(["ssh-keygen", "-F", name, "-f", str(file)], timeout_s=CONNECT_TIMEOUT_S, display=name)
    return parse_known_hosts(done.stdout.decode(errors="replace"))


def fetch_key(connection: Connection) -> HostKey:
    """Ask the host for its key.

    :raises LocalaiError: ``host-unknown``, ``host-unreachable``, ``jump-host-key-unknown``.
    """
    key = _offered(connection)
    return _offered(connection, _NO_CERTIFICATE) if _CERTIFICATE in key.key_type else key


def _offered(connection: Connection, more: Sequence[str] = ()) -> HostKey:
    """Ask up to five times: under load ssh now and then loses the command that notes the key."""
    stderr = ""
    for attempt in range(ATTEMPTS):
        time.sleep(_PAUSE_S * attempt)
        keys, stderr = _ask(connection, more)
        if keys:
            return keys[0]
        if _LOST[0] not in stderr and not stderr.strip().endswith(_LOST[1]):
            break
    raise connection_error(stderr, connection.display)


def _ask(connection: Connection, more: Sequence[str]) -> tuple[tuple[HostKey, ...], str]:
    """The keys that were written down, and what ssh said."""
    with tempfile.TemporaryDirectory(prefix="lad-key-") as directory:
        file = Path(directory) / "offered"
        command = [
            "ssh",
            *PLAIN_SESSION,
            *known_hosts_options(Path("/dev/null"), _TELL),
            *("-o", "ControlMaster=no", "-o", "ControlPath=none"),
            *("-o", f"ConnectTimeout={CONNECT_TIMEOUT_S}"),
            *more,
            *destination_words(connection),
            "true",
        ]
        done = _run(command, connection, {_TOLD: str(file)})
        keys = parse_known_hosts(file.read_text(encoding="utf-8")) if file.exists() else ()
    return keys, done.stderr.decode(errors="replace")


def keep(key: HostKey) -> None:
    """Make ``key`` the one that our known_hosts holds for its host."""
    file = known_hosts_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(file.parent):
        before = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        others = [f"{line}\n" for line in before if line.split(maxsplit=1)[:1] != [key.host]]
        descriptor, temporary = tempfile.mkstemp(prefix="known_hosts-", dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as new:
            new.writelines([*others, key.line])
        Path(temporary).replace(file)


def _accept(connection: Connection, offered: HostKey) -> None:
    if connection.host_key != offered.fingerprint:
        raise LocalaiError(
            "host-key-mismatch",
            f"{connection.display} offers another key than the one vouched for",
            why=f"offered {offered.fingerprint} ({offered.key_type}), expected {connection.host_key}",
            hint=f"compare on the host's own console: {_CONSOLE}",
        )
    keep(offered)


def _unknown(connection: Connection, offered: HostKey) -> LocalaiError:
    hint = (
        f"compare it on the host's own console: {_CONSOLE}\n"
        f"then run again with --accept-host-key {offered.fingerprint}\n"
        f"or set in the inventory: localai_host_key: {offered.fingerprint}"
    )
    own = known_keys(offered.host, Path.home() / ".ssh" / "known_hosts")
    if offered.key in {key.key for key in own}:
        hint = f"your own ~/.ssh/known_hosts has this very key for the host\n{hint}"
    return LocalaiError(
        "host-key-unknown",
        f"the SSH key of {connection.display} is not known yet",
        why=f"it offers {offered.key_type} {offered.fingerprint}",
        hint=hint,
    )


def _run(
    command: Sequence[str], connection: Connection, environment: Mapping[str, str] | None = None
) -> Completed:
    return run_process(
        command,
        timeout_s=LOGIN_TIMEOUT_S,
        display=connection.display,
        environment={**ssh_environment(), **(environment or {})},
    )
