"""Property strings, the format of most of a VM's config: ``first,key=value,flag=1``."""

from __future__ import annotations

from collections.abc import Mapping

from localai_deploy.errors import LocalaiError


def parse(text: str, default_key: str) -> dict[str, str]:
    """Split a property string; the part without a key belongs to ``default_key``.

    :raises LocalaiError: ``pve-answer-unreadable`` when a key repeats or a second part has no key.
    """
    found: dict[str, str] = {}
    for part in text.split(","):
        key, separator, value = part.partition("=")
        if not separator:
            key, value = default_key, part
        if not part or key in found:
            raise LocalaiError("pve-answer-unreadable", f"property string {text!r} cannot be read")
        found[key] = value
    return found


def render(values: Mapping[str, str | int | bool | None], default_key: str = "") -> str:
    """Join a property string; ``None`` leaves a key out, booleans become 1 and 0.

    Proxmox refuses ``True`` and has no quoting, so a comma in a value is a programming error.

    :raises ValueError: a value holds a comma.
    """
    parts = []
    for key, value in values.items():
        if value is None:
            continue
        text = str(int(value)) if isinstance(value, bool) else str(value)
        if "," in text:
            raise ValueError(f"{key}={text!r} cannot be part of a property string")
        parts.append(text if key == default_key else f"{key}={text}")
    return ",".join(parts)
