"""What differs between a record and what is wanted, in words for a person."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher
from typing import Any

from localai_deploy.domain.plan import Change


def record_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """Values that differ between two nested records, by dotted name."""
    old, new = _flatten(before), _flatten(after)
    return tuple(
        Change(name, *_shortened(old.get(name, ""), new.get(name, "")))
        for name in sorted({*old, *new})
        if old.get(name, "") != new.get(name, "")
    )


def _shortened(before: str, after: str) -> tuple[str, str]:
    """Of two argument lists only the words that differ, each with the word before it."""
    old, new = before.split(), after.split()
    if min(len(old), len(new)) < 4:
        return before, after
    changed = [
        code for code in SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if code[0] != "equal"
    ]
    return (
        " ".join(word for _, i1, i2, _, _ in changed for word in old[max(i1 - 1, 0) : i2]),
        " ".join(word for _, _, _, j1, j2 in changed for word in new[max(j1 - 1, 0) : j2]),
    )


def _flatten(record: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in record.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for index, item in enumerate(value):
                flat |= _flatten(item, f"{name}[{index}].")
        else:
            flat[name] = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return flat
