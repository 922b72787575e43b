"""The frame of what ``targets/observe.sh`` prints: named sections, each one line of base64."""

from __future__ import annotations

import base64
import binascii
import re

from localai_deploy.errors import LocalaiError

BEGIN, END = "begin", "end"
_LINE = re.compile(r"([a-z_]{1,40}) ([A-Za-z0-9+/]*={0,2})")


def decode_sections(output: str) -> dict[str, str]:
    """Name → content, of what lies between the first ``begin`` and the ``end`` after it.

    The content of a section cannot make another one: it holds neither space nor line break.

    :raises LocalaiError: ``host-unreadable`` when the output is cut short or is something else.
    """
    lines = iter(output.splitlines())
    if not any(_decoded(line)[0] == BEGIN for line in lines):
        raise _unreadable(output)
    found: dict[str, str] = {}
    for line in lines:
        name, content = _decoded(line)
        if name == END:
            return found
        if not name or name in found:
            raise _unreadable(line)
        found[name] = content
    raise _unreadable(output)


def decode_text(encoded: str) -> str:
    """Base64 to text; bytes that are no UTF-8 become U+FFFD; broken base64 becomes nothing."""
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""


def printable(text: str) -> str:
    """Make ``text`` safe to show on a terminal: what steers one becomes U+FFFD."""
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def _decoded(line: str) -> tuple[str, str]:
    match = _LINE.fullmatch(line)
    if match is None or len(match[2]) % 4:
        return "", ""
    return match[1], decode_text(match[2])


def _unreadable(output: str) -> LocalaiError:
    return LocalaiError(
        "host-unreadable",
        "the look at the host was cut short",
        why=printable(output.strip()[-200:]) or "it printed nothing",
        hint="run it again; if it stays, try `ssh HOST sh -c true` and remove what prints there",
    )
