"""How a host is reached: pure values, checked before anything is run with them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Literal

from localai_deploy.errors import InputError

ConnectionKind = Literal["ssh", "local", "vm"]

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")
_SSH_OPTION = re.compile(
    r"-[46ACKXYakqvx]+|-[46ACKXYakqvx]*(?P<takes>[BDFIJLRbcilmop])(?P<value>.*)", re.DOTALL
)
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True)
class Connection:
    """Where a host is and how to log in; no secret is ever part of it.

    :param kind: ``ssh``, ``local`` for the machine that runs the command, or ``vm`` for one that its
        Proxmox node has to be asked about.
    :param destination: alias, name or address, without user: given to ``ssh`` after ``--``.
    :param user: login name; empty leaves it to the SSH configuration.
    :param port: TCP port; 0 leaves it to the SSH configuration.
    :param private_key_file: path of a key; empty leaves it to the SSH configuration.
    :param ssh_args: further options for ``ssh``, one word each (``-o``, ``ProxyJump=bastion``); not those
        that name another host, another session or somebody else's connection (``-S``).
    :param host_key: the fingerprint the user vouches for (``SHA256:…``); empty: known_hosts decides.
    :param become_password_needed: ``sudo`` asks for a password on this host.
    """

    kind: ConnectionKind
    destination: str = "localhost"
    user: str = ""
    port: int = 0
    private_key_file: str = ""
    ssh_args: tuple[str, ...] = ()
    host_key: str = ""
    become_password_needed: bool = False

    def __post_init__(self) -> None:
        check_host_name(self.destination)
        if self.user and not _USER.fullmatch(self.user):
            raise _invalid(f"{self.user}@{self.destination}", "the user is letters, digits and . _ + -")
        if not 0 <= self.port <= 65535:
            raise _invalid(f"{self.destination}:{self.port}", "a port is 1 to 65535")
        _check_ssh_args(self.ssh_args)
        if self.host_key and not _FINGERPRINT.fullmatch(self.host_key):
            raise InputError(
                "host-key-invalid",
                f"{self.host_key!r} is not a host key's fingerprint",
                why="expected SHA256: and 43 characters",
                hint="print it on the host: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            )

    @property
    def display(self) -> str:
        """What messages call the host: ``user@destination``, as a user would write it."""
        return f"{self.user}@{self.destination}" if self.user else self.destination


def check_host_name(text: str) -> None:
    """Accept what is safe as a host's name everywhere: on a command line, in a path, in a pattern.

    :raises InputError: ``host-name-invalid``.
    """
    if not (_NAME.fullmatch(text) or _is_ipv6(text)):
        raise _invalid(text, "a host is letters, digits and . _ -, or an IPv6 address")


def _check_ssh_args(words: tuple[str, ...]) -> None:
    rest = iter(words)
    for word in rest:
        match = _SSH_OPTION.fullmatch(word)
        if match is None or (match["takes"] and not match["value"] and not next(rest, "")):
            raise InputError(
                "setting-invalid",
                f"{word!r} cannot be given to ssh",
                why="ansible_ssh_common_args may hold options that say how to get to the host",
                hint="put everything else into ~/.ssh/config",
            )


def parse_destination(text: str) -> Connection:
    """Read ``HOST`` or ``USER@HOST``; ``localhost`` alone is this machine, without SSH.

    :raises InputError: ``host-name-invalid``.
    """
    if text == "localhost":
        return Connection(kind="local")
    user, at, host = text.rpartition("@")
    if at and not user:
        raise _invalid(text, "the user before '@' is empty")
    return Connection(kind="ssh", destination=host.removeprefix("[").removesuffix("]"), user=user)


def _is_ipv6(text: str) -> bool:
    try:
        return bool(_IPV6.fullmatch(text) and ipaddress.IPv6Address(text))
    except ValueError:
        return False


def _invalid(text: str, why: str) -> InputError:
    return InputError(
        "host-name-invalid",
        f"host {text!r} cannot be used",
        why=why,
        hint="write HOST or USER@HOST, where HOST is a name, an address or an alias of ~/.ssh/config",
    )
