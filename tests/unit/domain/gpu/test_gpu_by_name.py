from __future__ import annotations

import pytest

from localai_deploy.domain.gpu.by_name import card_named
from localai_deploy.errors import InputError

GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "name", "gib", "bandwidth"),
    [
        ("RTX 3090", "NVIDIA GeForce RTX 3090", 24, 936),
        ("rtx3090", "NVIDIA GeForce RTX 3090", 24, 936),
        ("3090", "NVIDIA GeForce RTX 3090", 24, 936),
        ("NVIDIA GeForce RTX 3060", "NVIDIA GeForce RTX 3060", 12, 360),
        ("RTX 3060 8GB", "NVIDIA GeForce RTX 3060", 8, 240),
        ("RTX 4060 Ti:16GiB", "NVIDIA GeForce RTX 4060 Ti", 16, 288),
        ("Tesla T4", "Tesla T4", 16, 320),
        ("A100-PCIE-40GB", "NVIDIA A100-PCIE-40GB", 40, 1555),
        ("RTX 6000 Ada", "NVIDIA RTX 6000 Ada Generation", 48, 960),
    ],
)
def test_names(text: str, name: str, gib: int, bandwidth: float) -> None:
    found = card_named(text)
    assert (found.card.name, found.vram_bytes) == (name, gib * GIB)
    assert found.card.figures.bandwidth_gb_s == bandwidth


def test_other_sizes_are_told() -> None:
    assert card_named("RTX 3060").other_sizes == (8 * GIB,)
    assert card_named("RTX 3090").other_sizes == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RTX 3009", "NVIDIA GeForce RTX 3090"),
        ("RTX 3060 9GB", "sold with 8 GiB, 12 GiB"),
        ("", "no name like it"),
        ("Voodoo 2", ""),
    ],
)
def test_what_is_no_card(text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        card_named(text)
    assert caught.value.error_id == "gpu-name-unknown"
    assert told in f"{caught.value.what} {caught.value.why}"
