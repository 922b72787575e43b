"""The comparison of a recorded step with the sandbox's answer, by the transcripts' own rules."""

from __future__ import annotations

import json
import re
from typing import Any

KEYS = ("id", "vmid", "volid", "storage", "upid", "key", "iface", "roleid", "path", "name")
# Numbers of the last status round of the recording's machine, up to 10 s old: presence only.
STATUS_ROUND = {"status", "maxdisk", "maxmem", "maxcpu", "name"}
PROGRESS = re.compile(
    r"transferred |--\d{4}-|Connecting to |HTTP request sent|Length: |Saving to: |\s+0K |.* saved \["
    r"|Resolving "
    r"|.* ERROR \d{3}: |for my \(\.\.\.\) is experimental"
)
# Moments of the recording.
MOMENTS = {"snaptime"}
# The lab wrapped the image tool in a script.
LAB = {"qemu-img.real": "qemu-img"}


class Comparison:
    """Collects differences of value and, apart from them, differences of type."""

    def __init__(self, volatile: dict[str, Any]) -> None:
        self.ignored = {key for key in volatile["keys_any_depth"] if "@" not in key} | MOMENTS
        self.at = [tuple(key.split("@")) for key in volatile["keys_any_depth"] if "@" in key]
        self.regexes = volatile["value_regexes"]
        self.differences: list[str] = []
        self.type_differences: list[str] = []
        self.request = ""

    def text(self, value: str) -> str:
        for lab, real in LAB.items():
            value = value.replace(lab, real)
        for row in self.regexes:
            if "keep" in row:
                value = re.sub(row["re"], lambda m: "UPID:" + ":".join(m.groups()), value)
            else:
                value = re.sub(row["re"], row["name"], value)
        return value

    def note(self, place: str, recorded: Any, got: Any) -> None:
        self.differences.append(
            f"{place}: recorded {json.dumps(recorded)[:300]}, got {json.dumps(got)[:300]}"
        )

    def value(self, place: str, recorded: Any, got: Any) -> None:
        if isinstance(recorded, dict) and isinstance(got, dict):
            self._objects(place, recorded, got)
        elif isinstance(recorded, list) and isinstance(got, list):
            self._lists(place, recorded, got)
        elif isinstance(recorded, str) and isinstance(got, str):
            if place.endswith(".content"):
                recorded, got = ",".join(sorted(recorded.split(","))), ",".join(sorted(got.split(",")))
            if not recorded.startswith("<") and self.text(recorded) != self.text(got):
                self.note(place, recorded, got)
        elif recorded != got:
            if str(recorded) == str(got):
                self.type_differences.append(f"{self.request} {place}")
            else:
                self.note(place, recorded, got)

    def _objects(self, place: str, recorded: dict[str, Any], got: dict[str, Any]) -> None:
        for key in sorted(set(recorded) | set(got)):
            if key not in recorded or key not in got:
                self.note(f"{place}.{key}", recorded.get(key, "(absent)"), got.get(key, "(absent)"))
            elif not self._is_ignored(key, recorded):
                self.value(f"{place}.{key}", recorded[key], got[key])

    def _is_ignored(self, key: str, owner: dict[str, Any]) -> bool:
        if key in self.ignored or any(key == name and owner.get("type") == kind for name, kind in self.at):
            return True
        if owner.get("key") in self.ignored and key in {"value", "pending"}:
            return True
        return "/cluster/resources" in self.request and owner.get("type") == "qemu" and key in STATUS_ROUND

    def _lists(self, place: str, recorded: list[Any], got: list[Any]) -> None:
        objects = [item for item in [*recorded, *got] if isinstance(item, dict)]
        ordered = any("n" in item and "t" in item for item in objects)
        key = next((k for k in KEYS if objects and all(k in item for item in objects)), None)
        if key is None or ordered:
            if len(recorded) != len(got):
                self.note(place, recorded, got)
            for index, (mine, other) in enumerate(zip(recorded, got, strict=False)):
                self.value(f"{place}[{index}]", mine, other)
            return
        self._objects(
            place, {str(item[key]): item for item in recorded}, {str(item[key]): item for item in got}
        )

    def step(self, step: dict[str, Any], status: int, reason: str, body: Any) -> None:
        self.request = f"{step['method']} {step['path']}"
        if status != step["status"]:
            self.note("status", step["status"], status)
        if step.get("body_not_kept"):
            return
        self.value("reason", step["reason"], reason)
        recorded = step.get("body")
        if recorded is None or body is None:
            if (recorded is None) != (body is None):
                self.note("body", recorded, body)
            return
        self.value("body", recorded, body)

    def task(self, recorded: dict[str, Any], status: dict[str, Any], log: list[str]) -> None:
        self.value("task.exitstatus", recorded["exitstatus"], status.get("exitstatus"))
        for key in ("type", "id", "user", "tokenid"):
            self.value(f"task.{key}", recorded.get(key), status.get(key))
        wanted = [self.text(line) for line in recorded["log_tail"] if not PROGRESS.match(line)]
        mine = [self.text(line) for line in log if not PROGRESS.match(line)]
        is_whole = recorded["log_total"] == len(recorded["log_tail"])
        if wanted != (mine if is_whole else mine[-len(wanted) :]):
            self.note("task.log", wanted, mine)
