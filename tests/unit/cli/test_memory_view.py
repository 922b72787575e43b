"""Predicted against real memory in the report of ``up``."""

from __future__ import annotations

from localai_deploy.cli.memory_view import memory_data, memory_lines, memory_of
from localai_deploy.domain.fit.estimate import DeviceNeed
from localai_deploy.domain.fit.planned import PlannedFit
from localai_deploy.domain.fit.server_log import DeviceMemory, ServerMemory
from localai_deploy.verifier.report import CheckResult, Outcome, Report

MIB = 1 << 20
HOST = DeviceNeed("host", "host", 92 * MIB, 90 * MIB, 18 * MIB, 30 * MIB, 9 * MIB)
CARD = DeviceNeed("gpu", "NVIDIA RTX A5000", 300 * MIB, 40 * MIB, 60 * MIB, 100 * MIB, 4 * MIB)
REAL = ServerMemory(DeviceMemory(92 * MIB, 90 * MIB, 19 * MIB))


def fit(*devices: DeviceNeed) -> PlannedFit:
    return PlannedFit(devices, 25 * (len(devices) - 1), 25, "exact", "formula", 80.0)


def report(memory: object) -> Report:
    evidence = {"planned": 0, "memory": memory}
    return Report((CheckResult("box", "offload", "x", Outcome.PASS, evidence=evidence),), ("box",))  # type: ignore[arg-type]


def test_a_host_without_a_card() -> None:
    assert list(memory_lines(fit(HOST), REAL)) == [
        "host: weights 92.0 MiB (predicted 92.0 MiB), cache 90.0 MiB (predicted 90.0 MiB), "
        "compute 19.0 MiB (predicted 18.0 MiB)"
    ]


def test_cards_come_first_and_one_that_is_not_told_of_holds_nothing() -> None:
    real = ServerMemory(REAL.host, {"CUDA0": DeviceMemory(301 * MIB)}, (25, 25))
    found = memory_data(fit(CARD, CARD, HOST), real)
    assert [one["kind"] for one in found] == ["gpu", "gpu", "host"]
    assert [one["real"]["weights_bytes"] for one in found] == [301 * MIB, 0, 92 * MIB]
    assert found[0]["predicted"]["weights_bytes"] == 300 * MIB


def test_what_the_check_left_is_read_again() -> None:
    assert memory_of(report(REAL.to_data()), "box") == REAL
    assert memory_of(report(None), "box") is None
    assert memory_of(Report((), ("box",)), "box") is None
