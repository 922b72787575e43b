"""Which functions `node prepare` gives away, and which words it wants on the kernel's command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from localai_deploy.domain.node.preparation import prepare_for
from localai_deploy.domain.pci.address import parse_address
from localai_deploy.errors import LocalaiError
from tests.unit.domain.node.node_samples import (
    AMD_APU,
    BOOT_GPU,
    INTEL_NVIDIA,
    SHARED,
    TWO_EQUAL,
    Line,
    Sample,
)

CARD = ["0000:01:00.0", "0000:01:00.1"]
PREPARED = {"prepared": "0000:02:00.0\n0000:02:00.1\n"}
HEADLESS = Sample((Line("0000:00:00.0", "060000", "8086:4660", 0),))


@pytest.mark.parametrize(
    ("sample", "wanted", "expected"),
    [
        (INTEL_NVIDIA, (), CARD),
        (INTEL_NVIDIA, ("01:00",), CARD),
        (INTEL_NVIDIA, ("0000:01:00.1",), CARD),
        (SHARED, (), CARD),
        (TWO_EQUAL, (), CARD),
        (TWO_EQUAL, ("02:00",), ["0000:02:00.0", "0000:02:00.1"]),
        (TWO_EQUAL, ("02:00", "01:00"), [*CARD, "0000:02:00.0", "0000:02:00.1"]),
        (replace(TWO_EQUAL, more=PREPARED), (), ["0000:02:00.0", "0000:02:00.1"]),
        (BOOT_GPU, ("01:00",), CARD),
    ],
)
def test_whole_cards_by_address(sample: Sample, wanted: Sequence[str], expected: list[str]) -> None:
    found = prepare_for(sample.hardware, [parse_address(one) for one in wanted])
    assert [str(one.address) for one in found.functions] == expected


def test_the_id_is_written_down_beside_the_address() -> None:
    variables = prepare_for(TWO_EQUAL.hardware, []).role_variables()
    assert variables["vfio_devices"] == [
        {"address": "0000:01:00.0", "id": "10de:2204"},
        {"address": "0000:01:00.1", "id": "10de:1aef"},
    ]


@pytest.mark.parametrize(
    ("sample", "words"),
    [(INTEL_NVIDIA, ("intel_iommu=on", "iommu=pt")), (replace(INTEL_NVIDIA, cpu=AMD_APU.cpu), ("iommu=pt",))],
)
def test_kernel_parameters_go_by_the_cpu(sample: Sample, words: tuple[str, ...]) -> None:
    assert prepare_for(sample.hardware, []).parameters == words


@pytest.mark.parametrize(
    ("sample", "wanted", "error_id"),
    [
        (INTEL_NVIDIA, ("03:00",), "card-missing"),
        (INTEL_NVIDIA, ("00:17.0",), "card-missing"),
        (BOOT_GPU, (), "card-ambiguous"),
        (AMD_APU, (), "card-ambiguous"),
        (TWO_EQUAL.with_line("0000:02:00.0", boot=""), (), "card-ambiguous"),
        (HEADLESS, (), "card-none"),
    ],
)
def test_nothing_is_guessed(sample: Sample, wanted: Sequence[str], error_id: str) -> None:
    with pytest.raises(LocalaiError) as caught:
        prepare_for(sample.hardware, [parse_address(one) for one in wanted])
    assert caught.value.error_id == error_id
