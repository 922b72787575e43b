"""Listening TCP sockets out of ``/proc``: address, port, and the process that holds each."""

from __future__ import annotations

import os
import re
import socket
import struct
from pathlib import Path
from typing import Any

LISTEN = "0A"
_SOCKET = re.compile(r"socket:\[(\d+)\]")


def listeners(port: int, pid: int) -> list[dict[str, Any]]:
    """Sockets that listen on ``port``, and all those of process ``pid`` on any port."""
    own = _socket_inodes(pid) if pid else set()
    wanted = {inode: at for inode, at in _listening().items() if at[1] == port or inode in own}
    holders = dict.fromkeys(own, pid) if own.issuperset(wanted) else _holders(set(wanted))
    return [
        _listener(address, at_port, holders.get(inode, 0)) for inode, (address, at_port) in wanted.items()
    ]


def _listener(address: str, port: int, pid: int) -> dict[str, Any]:
    return {"address": address, "port": port, "pid": pid, "process": _process_name(pid)}


def _process_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _listening() -> dict[str, tuple[str, int]]:
    """Inode → address and port."""
    found: dict[str, tuple[str, int]] = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        found.update(parse_table(lines))
    return found


def parse_table(lines: list[str]) -> dict[str, tuple[str, int]]:
    """Rows of ``/proc/net/tcp`` or ``tcp6`` that listen: inode → address and port."""
    rows = (line.split() for line in lines)
    return {row[9]: parse_address(row[1]) for row in rows if len(row) > 9 and row[3] == LISTEN}


def parse_address(text: str) -> tuple[str, int]:
    """``0100007F:1F90`` → ``("127.0.0.1", 8080)``: words of 32 bits in the host's byte order."""
    words, _, port = text.partition(":")
    packed = b"".join(struct.pack("=I", int(words[at : at + 8], 16)) for at in range(0, len(words), 8))
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    return socket.inet_ntop(family, packed), int(port, 16)


def _holders(inodes: set[str]) -> dict[str, int]:
    """Inode → a process that has it open; a socket whose process is gone from sight is left out."""
    found: dict[str, int] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit() and not found.keys() >= inodes:
            found.update(dict.fromkeys(inodes & _socket_inodes(int(name)), int(name)))
    return found


def _socket_inodes(pid: int) -> set[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208
    except OSError:
        return set()
    links = (_link(f"{folder}/{name}") for name in names)
    return {match.group(1) for match in map(_SOCKET.fullmatch, links) if match}


def _link(path: str) -> str:
    """Where a link points; empty when it is gone, as descriptors of a busy process may be."""
    try:
        return os.readlink(path)  # noqa: PTH115
    except OSError:
        return ""
