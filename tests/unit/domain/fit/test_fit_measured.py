"""The estimate against figures of our own over many architectures."""

from __future__ import annotations

import pytest

from localai_deploy.domain.fit.architectures import MEASURED
from localai_deploy.domain.fit.estimate import MIB
from tests.unit.domain.fit.measured import fitted, measured_models, measured_rows, need_of, shape_of

ROWS = measured_rows()
LIMIT = {"exact": 0.01, "close": 0.03}
SMALL_BYTES = 16 * MIB
"""Errors below this do not count in shares: a device that holds little else."""


def test_the_rows_are_there() -> None:
    assert len(ROWS) > 2000
    assert len({shape_of(name).architecture for name in measured_models()}) > 80


@pytest.mark.parametrize("model", measured_models())
def test_no_device_needs_more_than_the_margin_allows(model: str) -> None:
    for row in ROWS:
        if row.model == model:
            need = need_of(row)
            assert row.total_bytes <= need.parts_bytes + need.margin_bytes, row


@pytest.mark.parametrize("model", measured_models())
def test_weights_and_caches_are_exact(model: str) -> None:
    for row in ROWS:
        if row.model == model:
            need = need_of(row)
            assert abs(need.weights_bytes - row.weights_bytes) <= max(0.003 * row.weights_bytes, MIB), row
            assert abs(need.kv_bytes - row.kv_bytes) <= max(0.001 * row.kv_bytes, MIB), row


@pytest.mark.parametrize(
    "model", [name for name in measured_models() if shape_of(name).architecture in MEASURED]
)
def test_a_single_card_is_known_closely(model: str) -> None:
    for row in ROWS:
        if row.model == model and row.device != "host" and row.cards == 1:
            sure = fitted(model, row.wish, 1).confidence
            error = abs(need_of(row).parts_bytes - row.total_bytes)
            assert error <= max(LIMIT[sure] * row.total_bytes, SMALL_BYTES), row
