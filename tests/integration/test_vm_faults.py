"""After each fault at each step the same command run again ends as if nothing had been.

How the first run ends is written down in ``vm_faults.txt``: fault, step, exit code, error, exit code of the
second run. ``FAULTS_UPDATE=1`` writes it anew; the difference is then read in review.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.proxmox import claims
from tests.integration.vm_faults import DOWN, UP, Killed, Step, arm, await_api
from tests.integration.vm_place import Ended, Machine, Place, Web, isolate, new_site, serving

TABLE = Path(__file__).with_name("vm_faults.txt")
REFUSED = ("401", "403", "500", "503", "595", "reset-before")
LOST = ("reset-after-success", "timeout-after-success")
FIRST = {"download", "shutdown"}


def faults_of(name: str, step: Step) -> tuple[str, ...]:
    """Killed before a step is the same as killed after the one before it."""
    lost = ("task-lost",) if step.task else ()
    killed = ("killed after",) if step.changes else ()
    before = ("killed before",) if name in FIRST else ()
    return (*REFUSED, *LOST, *lost, *before, *killed, "reboot")


CASES = [(fault, name) for name, step in (UP | DOWN).items() for fault in faults_of(name, step)]
CASES += [("storage-full", "upload"), ("storage-full", "create"), ("agent-missing", "address")]


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    web = Web()
    yield web
    web.stop()


@pytest.fixture(scope="module")
def undisturbed(web: Web, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """All that there is after one run without a fault."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        isolate(tmp_path_factory.mktemp("undisturbed"), monkeypatch)
        with serving(new_site(), web) as place:
            assert place.machine().up().code == 0
            return place.state()


@pytest.fixture
def place(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    isolate(tmp_path, monkeypatch)
    with serving(new_site(), web) as place:
        yield place


def table() -> dict[tuple[str, str], list[str]]:
    rows = [line.split("|") for line in TABLE.read_text().splitlines()[2:]]
    return {(row[0].strip(), row[1].strip()): [cell.strip() for cell in row[2:]] for row in rows}


def impatient(place: Place, fault: str) -> Machine:
    """A machine that does not wait long for an answer that never comes."""
    machine = place.machine()
    machine.call_timeout_s = 1.0 if fault == "timeout-after-success" else machine.call_timeout_s
    return machine


def run(machine: Machine, command: str) -> Ended:
    try:
        return machine.up() if command == "up" else machine.down()
    except Killed:
        return Ended(-9, "killed")


@pytest.fixture(scope="module")
def rows() -> Iterator[dict[tuple[str, str], list[str]]]:
    """What was seen; with FAULTS_UPDATE it becomes the table."""
    seen: dict[tuple[str, str], list[str]] = {}
    yield seen
    if os.environ.get("FAULTS_UPDATE"):
        lines = [f"{'fault':<22}| {'step':<12}| {'exit':<5}| {'error':<24}| again", "-" * 76]
        for (fault, step), row in seen.items():
            lines.append(f"{fault:<22}| {step:<12}| {row[0]:<5}| {row[1]:<24}| {row[2]}")
        TABLE.write_text("\n".join(lines) + "\n")


def gone(undisturbed: dict[str, Any]) -> dict[str, Any]:
    """All that there is after ``down``: pool and image."""
    image = {key: size for key, size in undisturbed["volumes"].items() if ":import/" in key}
    used = undisturbed["used"] | {"local": (10 << 30) + sum(image.values())}
    return {"vms": {}, "pending": {}, "volumes": image, "pools": {"localai": []}, "used": used}


IDS = [f"{step}-{fault}".replace(" ", "_") for fault, step in CASES]


@pytest.mark.parametrize(("fault", "name"), CASES, ids=IDS)
def test_the_same_command_again_converges(
    place: Place,
    undisturbed: dict[str, Any],
    rows: dict[tuple[str, str], list[str]],
    fault: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = "down" if name in DOWN else "up"
    if command == "down":
        assert place.machine().up().code == 0
    place.site.pace.import_s = 0.05 if fault == "reboot" else 0
    monkeypatch.setattr(claims, "_LOOKS", 100)  # of 50 ms here: as long as those of a second are
    with monkeypatch.context() as patch:
        has_struck = arm(place, fault, (UP | DOWN)[name], patch)
        first = run(impatient(place, fault), command)
        await_api(place)
    assert has_struck()
    second = place.machine().up() if command == "up" else place.machine().down()
    row = [str(first.code), first.error_id or "-", str(second.code)]
    rows[fault, name] = row
    assert second.code == 0, second.text
    expected = undisturbed if command == "up" else gone(undisturbed)
    assert place.state() == expected
    place.forget()
    third = place.machine().up() if command == "up" else place.machine().down()
    assert (third.code, place.changes()) == (0, [])
    if not os.environ.get("FAULTS_UPDATE"):
        assert row == table()[fault, name]
