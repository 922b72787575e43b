from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from localai_deploy.domain.plan import StepKind
from localai_deploy.workflow.journal import Journal

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal" / "box.jsonl", clock=lambda: NOW)


def test_nothing_is_unfinished_at_first(journal: Journal) -> None:
    assert journal.unfinished() is None


def test_begun_step_is_unfinished_until_it_ends(journal: Journal) -> None:
    journal.begin("r1", StepKind.MODELS)
    step = journal.unfinished()
    assert step is not None
    assert (step.kind, step.removing, step.run_id, step.started) == (
        StepKind.MODELS,
        False,
        "r1",
        "2026-01-02T03:04:05+00:00",
    )
    journal.end("r1", StepKind.MODELS, "done")
    assert journal.unfinished() is None


def test_failed_step_is_finished(journal: Journal) -> None:
    journal.begin("r1", StepKind.SERVICE)
    journal.end("r1", StepKind.SERVICE, "failed")
    assert journal.unfinished() is None


def test_a_later_run_replaces_what_was_cut_off(journal: Journal) -> None:
    journal.begin("r1", StepKind.MODELS)
    journal.begin("r2", StepKind.PREPARE, removing=True)
    step = journal.unfinished()
    assert step is not None
    assert step.removing
    assert step.kind is StepKind.PREPARE


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_torn_last_line_is_read_over(journal: Journal, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "journal" / "box.jsonl"
    journal.begin("r1", StepKind.PREPARE)
    journal.end("r1", StepKind.PREPARE, "done")
    whole = path.read_bytes()
    journal.begin("r1", StepKind.ENVIRONMENT)
    path.write_bytes(path.read_bytes()[: len(whole) + cut])
    assert journal.unfinished() is None
    journal.begin("r2", StepKind.SERVICE)
    step = journal.unfinished()
    assert step is not None
    assert step.kind is StepKind.SERVICE


def test_unknown_step_of_another_version_is_read_over(journal: Journal, tmp_path: Path) -> None:
    journal.begin("r1", StepKind.PREPARE)
    with (tmp_path / "journal" / "box.jsonl").open("a") as file:
        file.write('{"event": "begin", "step": "teleport", "run": "r9", "at": "x"}\n[1]\n')
    step = journal.unfinished()
    assert step is not None
    assert step.kind is StepKind.PREPARE


def test_file_is_private(journal: Journal, tmp_path: Path) -> None:
    journal.begin("r1", StepKind.PREPARE)
    assert (tmp_path / "journal" / "box.jsonl").stat().st_mode & 0o777 == 0o600
