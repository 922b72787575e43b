"""The journal of one host: what a run is about to change, written and synced before it does.

One JSON object a line. A step without an end was cut off: the next run looks at the host for what
became of it (:mod:`localai_deploy.domain.observations`) and never replays it blindly.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localai_deploy.domain.plan import StepKind

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class UnfinishedStep:
    """A step that was begun and never ended."""

    kind: StepKind
    removing: bool
    run_id: str
    started: str


class Journal:
    """Append-only journal of one host; a torn last line, as a crash leaves it, is read over."""

    def __init__(self, path: Path, clock: Clock = lambda: datetime.now(UTC)) -> None:
        self._path = path
        self._clock = clock
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def begin(self, run_id: str, kind: StepKind, *, removing: bool = False) -> None:
        """Write the intent to run a step."""
        self._append({"event": "begin", "run": run_id, "step": kind.value, "removing": removing})

    def end(self, run_id: str, kind: StepKind, outcome: str) -> None:
        """Write how a step ended: ``done`` or ``failed``."""
        self._append({"event": "end", "run": run_id, "step": kind.value, "outcome": outcome})

    def unfinished(self) -> UnfinishedStep | None:
        """The step that the last run left without an end."""
        open_step: UnfinishedStep | None = None
        for entry in self._entries():
            kind = StepKind(entry["step"])
            if entry["event"] == "begin":
                open_step = UnfinishedStep(kind, bool(entry.get("removing")), entry["run"], entry["at"])
            elif open_step and open_step.kind is kind:
                open_step = None
        return open_step

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps({**entry, "at": self._clock().isoformat(timespec="seconds")}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            if file.tell() and not self._ends_with_newline():
                file.write("\n")
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _ends_with_newline(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _entries(self) -> list[dict[str, Any]]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        return [entry for line in lines if (entry := _parsed(line)) is not None]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    known = {kind.value for kind in StepKind}
    return entry if isinstance(entry, dict) and entry.get("step") in known and "event" in entry else None
