"""Listening TCP sockets, as ``ss`` or the kernel itself tells them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from localai_deploy.domain.facts import Listener
from localai_deploy.domain.observation_sections import printable

_OWNER = re.compile(r'\("([^"]*)"[^()]*,pid=(\d{1,10}),fd=\d+\)\)\s*$')
"""The last owner of ``users:(("name",pid=1,fd=2),…)``: a process can choose its name, not what follows it."""
_UNIT = re.compile(r"/([^/\s]+\.service)(?=[/\s]|$)")
_KERNEL_LINE = re.compile(
    r"\s*\d+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) \S+ 0A(?: +\S+){3} +\d+ +\d+ +(\d+)(?: .*)?"
)
"""A line of the kernel's table whose state is 0A, listening: address, port, inode of the socket."""


def socket_listeners(sockets: str, cgroups: str) -> tuple[Listener, ...]:
    """Of ``ss -Hltnp`` and lines of a process number with its control groups."""
    units = _units(cgroups)
    found = []
    for line in sockets.splitlines():
        fields = line.split()
        address, _, port = fields[3].rpartition(":") if len(fields) > 3 else ("", "", "")
        if port.isdecimal() and int(port) <= 65535:
            owner = _OWNER.search(line)
            pid = int(owner[2]) if owner else 0
            name = printable(owner[1]) if owner else ""
            found.append(Listener(_plain(address), int(port), name, pid, units.get(pid, "")))
    return tuple(found)


def kernel_listeners(text: str, unit_sockets: str = "") -> tuple[Listener, ...]:
    """Of ``/proc/net/tcp`` and ``tcp6``, which name no process.

    :param unit_sockets: our unit's name, then what its process has open, a line each.
    """
    unit, *opened = unit_sockets.splitlines() or [""]
    ours = frozenset(opened)
    matches = filter(None, map(_KERNEL_LINE.fullmatch, text.splitlines()))
    return tuple(
        Listener(
            _from_words(match[1]), int(match[2], 16), unit=unit if f"socket:[{match[3]}]" in ours else ""
        )
        for match in matches
    )


def _units(text: str) -> Mapping[int, str]:
    found = {}
    for line in text.splitlines():
        pid, _, groups = line.partition(" ")
        names = _UNIT.findall(groups)
        if names and pid.isdecimal():
            found[int(pid)] = names[-1]
    return found


def _plain(address: str) -> str:
    return address.partition("%")[0].strip("[]")


def _from_words(text: str) -> str:
    """Kernel's hexadecimal of 32-bit words in the machine's byte order (little-endian on all we serve)."""
    words = [bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))
