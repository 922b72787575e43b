"""The solver on a real channel with two variants of the server: which one is taken comes from the driver."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from localai_deploy.domain.connection import parse_destination
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.gpu.generation import CudaVersion
from localai_deploy.domain.lock import EnvironmentLock, Variant
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.settings import Sourced, resolve_settings
from localai_deploy.domain.spec import HostSpec, host_spec
from localai_deploy.errors import LocalaiError
from localai_deploy.runtimes import deployment_of, runtime_named
from localai_deploy.runtimes.solver import solve_environment
from localai_deploy.workflow.observe import with_driver
from tests.lab.content import ensure_content
from tests.lab.layout import open_lab
from tests.lab.mirror import Mirror
from tests.lab.mirror_files import mirror_content

if TYPE_CHECKING:
    from collections.abc import Iterator

CARD = Path(__file__).parents[1] / "golden" / "cases" / "card-fresh" / "facts.json"
MODEL = ModelFile("hf:O/R/m.gguf", "m.gguf", "https://example.org/m.gguf", "c" * 64, 5)


@pytest.fixture(scope="module")
def channel() -> Iterator[str]:
    ensure_content(open_lab().directory)
    with Mirror(mirror_content(open_lab())) as mirror:
        yield f"{mirror.listen('127.0.0.1')}/conda/conda-forge"


def solve(channel: str, variant: Variant, cuda: CudaVersion | None) -> EnvironmentLock:
    return solve_environment(
        channel="conda-forge",
        channel_url=channel,
        match_spec=runtime_named("llama_cpp").match_spec(variant),
        variant=variant,
        platform="linux-64",
        libc_version="2.41",
        cuda=cuda,
    )


def build(lock: EnvironmentLock) -> str:
    package = lock.package("llama.cpp")
    assert package is not None
    return package.build


def spec_with_card() -> HostSpec:
    layer = {"localai_models": Sourced((MODEL.reference,), "test")}
    spec = host_spec("box", parse_destination("admin@box"), resolve_settings([layer]))
    found, problems = with_driver(spec, HostFacts.from_data(json.loads(CARD.read_text())))
    assert problems == ()
    return found


def test_the_drivers_cuda_brings_the_cuda_build(channel: str) -> None:
    spec = spec_with_card()
    assert spec.driver is not None
    lock = solve(channel, spec.variant, spec.driver.choice.cuda)
    assert (lock.variant, build(lock)) == ("cuda12", "cuda129_lab_0")
    assert deployment_of(spec, lock, (MODEL,)).package.build == "cuda129_lab_0"


def test_without_a_card_the_cpu_build(channel: str) -> None:
    assert build(solve(channel, "cpu", None)) == "cpu_lab_0"


def test_without_a_driver_there_is_no_cuda_build(channel: str) -> None:
    with pytest.raises(LocalaiError) as refused:
        solve(channel, "cuda12", None)
    assert refused.value.error_id == "environment-unsolvable"
    assert "__cuda" in refused.value.why


@pytest.mark.parametrize("variant", ["cpu", "cuda13"])
def test_a_lock_of_another_variant_blocks_a_card(channel: str, variant: Variant) -> None:
    lock = replace(solve(channel, "cpu", None), variant=variant)
    with pytest.raises(LocalaiError) as refused:
        deployment_of(spec_with_card(), lock, (MODEL,))
    assert refused.value.error_id == "lock-variant-wrong"


def test_a_cpu_build_under_the_name_of_cuda_blocks_a_card(channel: str) -> None:
    lock = replace(solve(channel, "cpu", None), variant="cuda12")
    with pytest.raises(LocalaiError, match="no cuda12 build"):
        deployment_of(spec_with_card(), lock, (MODEL,))
