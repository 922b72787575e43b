"""What a removal still finds, and when there is nothing to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from localai_deploy.domain.facts import FileFact, HostFacts, ModelFact, UnitFact
from localai_deploy.domain.observations import State
from localai_deploy.domain.plan import ROLE_OF, StepKind
from localai_deploy.domain.planning import make_removal
from localai_deploy.domain.remains import anything_of_ours, observe_remains

OBSERVED = Path(__file__).parent / "observed"


def facts_of(case: str) -> HostFacts:
    return HostFacts.from_data(json.loads((OBSERVED / case / "facts.json").read_text()))


CLEAN = facts_of("debian13-clean")
DEPLOYED = replace(facts_of("debian13-deployed"), gateway=UnitFact("loaded", "active", "running"))
ONE_FILE = FileFact(sha256="", mode="0600", size=1)


def test_nothing_is_left_on_a_clean_host() -> None:
    assert {observe_remains(kind, CLEAN).state for kind in ROLE_OF} == {State.ABSENT}
    assert not anything_of_ours(CLEAN, models_too=True)
    assert make_removal("box", CLEAN, purge=True).steps == ()


def test_every_step_left_something_on_a_deployed_host() -> None:
    seen = {kind: observe_remains(kind, DEPLOYED) for kind in ROLE_OF}
    assert seen.pop(StepKind.DRIVER).state is State.ABSENT
    assert {one.state for one in seen.values()} == {State.PARTIAL}
    assert seen[StepKind.SERVICE].evidence == "the unit is active, 2 file(s) of it"
    assert seen[StepKind.MODELS].evidence == "1 model file(s) (93.8 MiB), the pull program"
    assert seen[StepKind.PREPARE].evidence == "our mark, 2 file(s) of it"


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (replace(CLEAN, files={"/etc/localai-deploy/api-key": ONE_FILE}), StepKind.SERVICE),
        (replace(CLEAN, unit=UnitFact(load_state="loaded")), StepKind.SERVICE),
        (replace(CLEAN, files={"/usr/local/lib/localai-deploy/model_store.py": ONE_FILE}), StepKind.MODELS),
        (replace(CLEAN, gateway=UnitFact()), StepKind.GATEWAY),
        (replace(CLEAN, driver={"version": ""}), StepKind.DRIVER),
        (replace(CLEAN, runtime={"name": "llama.cpp"}), StepKind.RUNTIME),
        (replace(CLEAN, lock={"packages": []}), StepKind.ENVIRONMENT),
        (replace(CLEAN, files={"/etc/localai-deploy/packages-before.json": ONE_FILE}), StepKind.PREPARE),
    ],
)
def test_the_rest_of_one_step_is_enough_to_go_on(facts: HostFacts, kind: StepKind) -> None:
    assert [k for k in ROLE_OF if observe_remains(k, facts).state is not State.ABSENT] == [kind]
    assert make_removal("box", facts, purge=False).steps


def test_models_that_were_kept_are_a_rest_only_for_a_purge() -> None:
    kept = replace(CLEAN, models=(ModelFact("a.gguf", size_bytes=5),))
    assert make_removal("box", kept, purge=False).steps == ()
    assert make_removal("box", kept, purge=True).steps


def test_a_step_that_was_cut_off_is_undone_though_nothing_is_seen() -> None:
    assert make_removal("box", CLEAN, purge=False, unfinished=True).steps
