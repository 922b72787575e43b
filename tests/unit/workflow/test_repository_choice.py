"""A whole repository as the model of a host: which file is taken, why, and that it stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.domain.connection import parse_destination
from localai_deploy.domain.deployment import MANAGED_BY, RECORD_SCHEMA
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.plan import ModelChoice
from localai_deploy.domain.settings import Sourced, resolve_settings
from localai_deploy.domain.spec import HostSpec, host_spec
from localai_deploy.errors import LocalaiError
from localai_deploy.workflow.host_fit import machine_of
from localai_deploy.workflow.observe import with_driver
from localai_deploy.workflow.repository_choice import with_files
from tests.unit.cli.fit_models import dense
from tests.unit.hub.hub_double import Hub

GIB = 1 << 30
FACTS = Path(__file__).parents[2] / "golden" / "cases" / "fresh-debian13" / "facts.json"
SIZES = {"lab-7b-Q4_0.gguf": 3.09, "lab-7b-Q8_0.gguf": 5.83, "lab-7b-F16.gguf": 10.98}
CARD_8_GIB = "10de:2484"


class ServingHub(Hub):
    """A hub that also gives the files' begins."""

    def content(self, path: str) -> bytes:
        return dense(path.removesuffix(".gguf").rpartition("-")[2].lower())


@pytest.fixture
def hub() -> Iterator[ServingHub]:
    with ServingHub(files={path: ("0" * 64, round(gib * GIB)) for path, gib in SIZES.items()}) as found:
        yield found


def chosen(
    hub: Hub,
    text: str = "hf:lab/model",
    *,
    card: str = "",
    memory: int | None = 32 * GIB,
    record: Any = None,
    update: bool = False,
    **settings: Any,
) -> tuple[HostSpec, tuple[ModelChoice, ...]]:
    given = {"localai_models": [text], "localai_mirrors": {"huggingface": hub.endpoint}, **settings}
    layer = {key: Sourced(value, "test") for key, value in given.items()}
    spec = host_spec("box", parse_destination("admin@box"), resolve_settings([layer]))
    facts = HostFacts.from_data(json.loads(FACTS.read_text()) | {"deployment": record})
    nvidia = replace(facts.nvidia, cards=(card,) if card else (), headers="linux-headers-amd64")
    spec, _ = with_driver(spec, replace(facts, nvidia=nvidia))
    machine = machine_of(spec, memory or 0)
    return with_files(spec, facts, machine, "", lambda _: None, update=update)


def record_of(reference: str) -> dict[str, Any]:
    return {"managed_by": MANAGED_BY, "schema": RECORD_SCHEMA, "models": [{"reference": reference}]}


def test_the_most_bits_that_a_card_takes_whole(hub: ServingHub) -> None:
    spec, (choice,) = chosen(hub, card=CARD_8_GIB)
    assert spec.models == ("hf:lab/model/lab-7b-Q8_0.gguf",)
    assert choice.why == "the most bits a weight with all layers on the card"
    assert [one.partition(":")[0] for one in choice.not_chosen] == ["Q4_0", "F16"]
    assert "keeps more" in choice.not_chosen[0]


def test_a_longer_context_takes_fewer_bits(hub: ServingHub) -> None:
    spec, _ = chosen(hub, card=CARD_8_GIB, localai_context_length=16384)
    assert spec.models == ("hf:lab/model/lab-7b-Q4_0.gguf",)


def test_without_a_card_about_4_bits_are_taken(hub: ServingHub) -> None:
    for memory in (32 * GIB, None):
        spec, (choice,) = chosen(hub, memory=memory)
        assert spec.models == ("hf:lab/model/lab-7b-Q4_0.gguf",)
        assert "Q4_K_M" in choice.why


def test_a_revision_is_kept(hub: ServingHub) -> None:
    assert chosen(hub, "hf:lab/model@v1")[0].models == ("hf:lab/model/lab-7b-Q4_0.gguf@v1",)


def test_what_the_host_has_stays(hub: ServingHub) -> None:
    held = "hf:lab/model/lab-7b-Q4_0.gguf"
    spec, (choice,) = chosen(hub, card=CARD_8_GIB, record=record_of(held))
    assert (spec.models, choice.not_chosen, hub.seen) == ((held,), (), [])
    spec, _ = chosen(hub, card=CARD_8_GIB, record=record_of(held), update=True)
    assert spec.models == ("hf:lab/model/lab-7b-Q8_0.gguf",)
    spec, _ = chosen(hub, card=CARD_8_GIB, record=record_of(f"{held}@v1"))
    assert spec.models == ("hf:lab/model/lab-7b-Q8_0.gguf",)


def test_a_file_is_left_as_it_is(hub: ServingHub) -> None:
    named = "hf:lab/model/lab-7b-F16.gguf"
    spec, choices = chosen(hub, named)
    assert (spec.models, choices, hub.seen) == ((named,), (), [])


def test_where_nothing_fits(hub: ServingHub) -> None:
    with pytest.raises(LocalaiError) as caught:
        chosen(hub, memory=2 * GIB)
    assert caught.value.error_id == "fit-does-not-fit"
    assert "Q4_0: the host needs " in caught.value.why


def test_original_weights_are_served_by_nothing_here(hub: ServingHub) -> None:
    hub.files = {"README.md": ("0" * 40, 1)}
    with pytest.raises(LocalaiError) as caught:
        chosen(hub)
    assert caught.value.error_id == "fit-nothing-offered"
