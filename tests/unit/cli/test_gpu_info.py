from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from tests.unit.cli.conftest import Ended

IDS = ("10de:2204", "10DE1B38", "10de:1e30:10de:129e", "10de:06c0", "10de:0fc6", "10de:2210", "10de:5000")


@pytest.mark.parametrize("pci_id", IDS)
def test_documents_follow_the_schema(pci_id: str, run: Callable[..., Ended]) -> None:
    done = run("gpu", "info", pci_id, "-o", "json")
    assert (done.code, done.err) == (0, "")
    validator = Draft202012Validator(load_schema("gpu-info"))
    assert [error.message for error in validator.iter_errors(json.loads(done.out))] == []


def test_a_card_as_json(run: Callable[..., Ended]) -> None:
    document = json.loads(run("gpu", "info", "10de:2204", "-o", "json").out)
    assert document["name"] == "NVIDIA GeForce RTX 3090"
    assert document["compute_capability"] == "8.6"
    assert document["vram_bytes"] == 25769803776
    assert document["driver"] == {
        "kernel_modules": ["open", "proprietary"],
        "first_branch": 460,
        "last_branch": None,
        "recommended": "open",
    }
    assert document["sources"]


def test_a_card_as_text(run: Callable[..., Ended]) -> None:
    assert run("gpu", "info", "10de:1b38").out.splitlines() == [
        "Tesla P40  10de:1b38",
        "  chip       GP102 (Pascal), compute capability 6.1",
        "  memory     24.0 GiB, 346 GB/s",
        "  power      250 W as sold",
        "  driver     proprietary kernel modules; any branch, 580 at most",
        "  runtime    cuda12",
        "  sources    NVIDIA's list of supported GPUs of driver 550.163.01",
        "             public PCI id list: chip by run of ids",
        "             NVIDIA's published figures, held against a second collection (docs/gpu-catalogue.md)",
        "             release notes of the CUDA toolkits",
    ]


@pytest.mark.parametrize(
    ("pci_id", "code", "error_id"),
    [("2204", 2, "pci-id-invalid"), ("1002:73bf", 3, "gpu-not-nvidia"), ("10de:1aef", 3, "gpu-no-card")],
)
def test_what_is_refused(pci_id: str, code: int, error_id: str, run: Callable[..., Ended]) -> None:
    done = run("gpu", "info", pci_id, "-o", "json")
    assert done.code == code
    assert error_id in done.out + done.err
