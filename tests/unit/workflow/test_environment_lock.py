"""When a recorded lock is kept, and what a new one is solved for; the real solver: test_cuda_variant.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from localai_deploy.domain.connection import parse_destination
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.settings import Sourced, resolve_settings
from localai_deploy.domain.spec import Choices, HostSpec, host_spec
from localai_deploy.errors import LocalaiError
from localai_deploy.hub import web
from localai_deploy.runtimes import solver
from localai_deploy.workflow.environment_lock import environment_lock
from localai_deploy.workflow.observe import with_driver

GOLDEN = Path(__file__).parents[2] / "golden"
LOCKS = yaml.safe_load((GOLDEN / "locks.yml").read_text())
SOLVED = EnvironmentLock.from_data(LOCKS["cpu"])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the solver was asked for."""
    found: list[dict[str, Any]] = []

    def solve(**given: Any) -> EnvironmentLock:
        found.append(given)
        return SOLVED

    monkeypatch.setattr(solver, "solve_environment", solve)
    return found


def planned(case: str, recorded: str = "") -> tuple[HostSpec, HostFacts]:
    """A host of a golden case, with a lock that it recorded."""
    facts = HostFacts.from_data(json.loads((GOLDEN / "cases" / case / "facts.json").read_text()))
    layer = {"localai_models": Sourced(("hf:ORG/REPO/small-q4.gguf",), "test")}
    spec, _ = with_driver(host_spec("box", parse_destination("admin@box"), resolve_settings([layer])), facts)
    return spec, replace(facts, lock=LOCKS[recorded] if recorded else None)


def lock_of(case: str, recorded: str = "", *, update: bool = False) -> EnvironmentLock:
    spec, facts = planned(case, recorded)
    return environment_lock(spec, facts, Choices(update=update), lambda _: None)


@pytest.mark.parametrize(
    ("case", "recorded"),
    [("card-fresh", "cuda12"), ("card-from-nvidia", "cuda13"), ("fresh-debian13", "cpu")],
)
def test_a_lock_of_the_same_major_is_kept(case: str, recorded: str, asked: list[dict[str, Any]]) -> None:
    assert lock_of(case, recorded).variant == recorded
    assert asked == []


@pytest.mark.parametrize(
    ("case", "recorded", "wanted"),
    [
        ("card-from-nvidia", "cuda12", "cuda13"),
        ("card-fresh", "cuda13", "cuda12"),
        ("card-fresh", "cpu", "cuda12"),
        ("fresh-debian13", "cuda12", "cpu"),
    ],
)
def test_one_of_another_major_is_solved_anew(
    case: str, recorded: str, wanted: str, asked: list[dict[str, Any]]
) -> None:
    assert lock_of(case, recorded) == SOLVED
    assert [one["variant"] for one in asked] == [wanted]
    assert asked[0]["match_spec"] == f"llama.cpp * {wanted}*"


@pytest.mark.parametrize(
    ("case", "cuda"),
    [
        ("card-fresh", (12, 4)),
        ("card-debian12", (12, 2)),
        ("card-ubuntu2404", (13, 0)),
        ("fresh-debian13", None),
    ],
)
def test_cuda_of_the_solver_is_the_resolvers(
    case: str, cuda: tuple[int, int] | None, asked: list[dict[str, Any]]
) -> None:
    lock_of(case)
    assert [one["cuda"] for one in asked] == [cuda]


def test_update_solves_anew(asked: list[dict[str, Any]]) -> None:
    lock_of("card-fresh", "cuda12", update=True)
    assert len(asked) == 1


NAMED = {"cuda12": (f"https://github.com/O/R/llama-b7-cuda.tar.gz#sha256={'a' * 64}",)}


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """What the servers of archives tell; the others do not answer."""
    found: dict[str, int] = {}

    def content_length(url: str) -> int:
        if url not in found:
            raise LocalaiError("hub-unreachable", "no answer", why="timed out")
        return found[url]

    monkeypatch.setattr(web, "content_length", content_length)
    return found


def test_named_archives_are_taken_for_their_variant_alone(
    asked: list[dict[str, Any]], sizes: dict[str, int]
) -> None:
    spec, facts = planned("card-fresh", "cuda12")
    sizes["https://mirror.lab/gh/O/R/llama-b7-cuda.tar.gz"] = 5
    spec = replace(spec, archives=NAMED, mirrors=Mirrors(github="https://mirror.lab/gh"))
    lock = environment_lock(spec, facts, Choices(), lambda _: None)
    assert [(one.name, one.version, one.size_bytes) for one in lock.packages] == [("llama.cpp", "7", 5)]
    assert asked == []
    spec = replace(spec, archives={"cpu": NAMED["cuda12"]})
    assert environment_lock(spec, facts, Choices(), lambda _: None).channel == "conda-forge"


def test_recorded_archives_need_no_network_and_leave_with_their_names(
    asked: list[dict[str, Any]], sizes: dict[str, int]
) -> None:
    spec, facts = planned("card-fresh")
    sizes["https://github.com/O/R/llama-b7-cuda.tar.gz"] = 5
    lock = environment_lock(replace(spec, archives=NAMED), facts, Choices(), lambda _: None)
    sizes.clear()
    there = replace(facts, lock=lock.to_data())
    assert environment_lock(replace(spec, archives=NAMED), there, Choices(), lambda _: None) == lock
    assert asked == []
    environment_lock(spec, there, Choices(), lambda _: None)
    assert len(asked) == 1


def test_hosts_of_one_run_ask_for_an_archive_once(sizes: dict[str, int]) -> None:
    spec, facts = planned("card-fresh")
    choices, wanted = Choices(), replace(spec, archives=NAMED)
    sizes["https://github.com/O/R/llama-b7-cuda.tar.gz"] = 5
    first = environment_lock(wanted, facts, choices, lambda _: None)
    sizes.clear()
    assert environment_lock(replace(wanted, name="other"), facts, choices, lambda _: None) == first


def test_an_archive_that_cannot_be_had_is_told_before_anything_is_changed(sizes: dict[str, int]) -> None:
    spec, facts = planned("card-fresh")
    with pytest.raises(LocalaiError) as told:
        environment_lock(replace(spec, archives=NAMED), facts, Choices(), lambda _: None)
    assert (told.value.error_id, told.value.why) == ("archive-unreachable", "timed out")
    assert sizes == {}
