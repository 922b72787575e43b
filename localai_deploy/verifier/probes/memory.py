"""Main memory of processes by part, out of ``/proc``."""

from __future__ import annotations

from pathlib import Path

PARTS = {"RssAnon": "anonymous_bytes", "RssFile": "file_bytes", "RssShmem": "shared_bytes"}


def resident(pids: list[int]) -> dict[str, int]:
    """Resident bytes of all ``pids``: own memory, mapped files (the model), shared memory."""
    found = dict.fromkeys(PARTS.values(), 0)
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, value = line.partition(":")
            if name in PARTS:
                found[PARTS[name]] += int(value.split()[0]) * 1024
    return found
