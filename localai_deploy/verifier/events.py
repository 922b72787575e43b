"""How the checks' process tells its parent what happens: one JSON object a line."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

from localai_deploy.verifier.report import CheckResult

PLANNED = "planned"
PROGRESS = "progress"
RESULT = "result"


@dataclass(frozen=True, slots=True)
class CheckProgress:
    """A check that is at work; ``total_bytes`` is 0 when there is nothing to count."""

    host: str
    check_id: str
    title: str
    done_bytes: int = 0
    total_bytes: int = 0


class EventWriter:
    """Writes events to an inherited file descriptor, which its own children do not inherit."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_inheritable(descriptor, False)  # noqa: FBT003

    def planned(self, checks: list[CheckProgress]) -> None:
        """Tell which checks will run."""
        self._write(PLANNED, {"checks": [asdict(check) for check in checks]})

    def progress(self, progress: CheckProgress) -> None:
        """Tell how far a check is."""
        self._write(PROGRESS, asdict(progress))

    def result(self, result: CheckResult) -> None:
        """Tell how a check ended."""
        self._write(RESULT, result.to_data())

    def _write(self, event: str, data: dict[str, Any]) -> None:
        remaining = json.dumps({"event": event, **data}).encode() + b"\n"
        while remaining:
            remaining = remaining[os.write(self._descriptor, remaining) :]
