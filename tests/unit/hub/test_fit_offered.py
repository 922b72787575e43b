"""References that fit reads: files, repositories, addresses; few requests, errors that say what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from localai_deploy.domain.fit.choice import Freedom
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.wish import Card, Wish
from localai_deploy.errors import LocalaiError
from localai_deploy.hub.offered import parse_offered
from localai_deploy.workflow.fitting import Hub, Offered, choose_offered, look_at
from tests.unit.cli.fit_models import dense
from tests.unit.domain.safetensors.published import PUBLISHED
from tests.unit.hub.hub_double import COMMIT
from tests.unit.hub.hub_double import Hub as HubDouble
from tests.unit.hub.server import Fault, FaultServer

GIB = 1 << 30
CONTENTS = {f"lab-7b-{kind.upper()}.gguf": dense(kind) for kind in ("q4_0", "q8_0", "f16")}
SIZES = {"lab-7b-Q4_0.gguf": 3.09, "lab-7b-Q8_0.gguf": 5.83, "lab-7b-F16.gguf": 10.98}


class ServingHub(HubDouble):
    """A hub that also gives the files' begins."""

    def content(self, path: str) -> bytes:
        return CONTENTS[path]


@pytest.fixture
def hub() -> Iterator[ServingHub]:
    found = ServingHub(files={path: ("0" * 64, round(gib * GIB)) for path, gib in SIZES.items()})
    found.files["README.md"] = ("0" * 40, 100)
    with found:
        yield found


def chosen(hub: HubDouble, gib: float, text: str = "hf:lab/model") -> tuple[Offered, str]:
    place = Hub(hub.endpoint)
    machine = Machine((Card("card", round(gib * GIB), 34, 400e9),), 64 * GIB)
    offered = look_at(text, round(gib * GIB) - GIB, place)
    offered, choice = choose_offered(offered, Wish(), machine, Freedom(), place)
    assert choice.best is not None
    assert choice.best.candidate.exact
    return offered, choice.best.candidate.label


@pytest.mark.parametrize(("gib", "label"), [(6, "Q4_0"), (8, "Q8_0"), (24, "Q8_0")])
def test_a_repository(gib: float, label: str, hub: ServingHub) -> None:
    offered, best = chosen(hub, gib)
    assert best == label
    assert [one.label for one in offered.candidates] == ["Q4_0", "Q8_0", "F16"]
    reads = [path for method, path, *_ in hub.seen if "/resolve/" in path]
    assert len(reads) <= 2, "one listing and few headers"


def test_a_file_of_a_repository(hub: ServingHub) -> None:
    offered, best = chosen(hub, 8, f"hf:lab/model/lab-7b-Q4_0.gguf@{COMMIT}")
    assert (best, [one.label for one in offered.candidates]) == ("Q4_0", ["Q4_0"])
    assert [path for _, path, *_ in hub.seen] == [f"/lab/model/resolve/{COMMIT}/lab-7b-Q4_0.gguf"]


@pytest.mark.parametrize(
    ("text", "error_id", "told"),
    [
        ("hf:lab/model/lab-7b-Q4_1.gguf", "model-not-found", "lab-7b-Q4_0.gguf"),
        ("hf:lab/other", "model-not-found", "no repository"),
        ("hf:lab/other/a.gguf", "model-not-found", "no repository"),
        ("hf:lab/model@v9", "model-not-found", "v9"),
    ],
)
def test_what_is_not_there(text: str, error_id: str, told: str, hub: ServingHub) -> None:
    with pytest.raises(LocalaiError) as caught:
        look_at(text, GIB, Hub(hub.endpoint))
    assert caught.value.error_id == error_id
    assert told in f"{caught.value.why} {caught.value.hint}"


def test_a_gate(hub: ServingHub) -> None:
    hub.token = "the-token"
    with pytest.raises(LocalaiError) as caught:
        look_at("hf:lab/model", GIB, Hub(hub.endpoint))
    assert caught.value.error_id == "model-gated"
    assert "HF_TOKEN" in caught.value.hint
    assert look_at("hf:lab/model", GIB, Hub(hub.endpoint, "the-token")).candidates


def test_a_repository_without_gguf(hub: ServingHub) -> None:
    hub.files = {"pytorch_model.bin": ("0" * 64, 1)}
    with pytest.raises(LocalaiError) as caught:
        look_at("hf:lab/model", GIB, Hub(hub.endpoint))
    assert caught.value.error_id == "fit-nothing-offered"


def test_a_repository_of_original_weights(hub: ServingHub, tmp_path: Path) -> None:
    told, rows = PUBLISHED["qwen25-7b"]()
    place, table = 0, {}
    for row in rows:
        offsets = [place, place := place + row.size_bytes]
        table[row.name] = {"dtype": row.dtype, "shape": list(row.shape), "data_offsets": offsets}
    head = json.dumps(table).encode()
    weights = len(head).to_bytes(8, "little") + head
    given = {"model.safetensors": weights, "config.json": json.dumps(told).encode()}
    hub.files = {path: ("0" * 64, len(content)) for path, content in given.items()}
    hub.content = lambda path: given[path]  # type: ignore[method-assign]
    for path, content in given.items():
        (tmp_path / path).write_bytes(content)
    machine = Machine((Card("card", 8 * GIB, 34, 400e9),), 64 * GIB)
    for text in ("hf:lab/model", f"hf:lab/model/model.safetensors@{COMMIT}", f"{tmp_path}/", str(tmp_path)):
        offered = look_at(text, 7 * GIB, Hub(hub.endpoint))
        offered, choice = choose_offered(offered, Wish(), machine, Freedom(), Hub(hub.endpoint))
        assert offered.converted
        assert choice.best is not None
        assert choice.best.candidate.label == "Q6_K"
        assert choice.best.estimate.confidence == "bound"


@pytest.mark.parametrize(
    ("fault", "error_id"),
    [
        (Fault(status=404), "model-not-found"),
        (Fault(status=403), "model-gated"),
        (Fault(status=503), "hub-unreachable"),
        (Fault(content_range="bytes 7-9/10"), "model-ranges-refused"),
        (Fault(content=b"<html>"), "model-format-wrong"),
    ],
)
def test_addresses_that_give_no_model(fault: Fault, error_id: str) -> None:
    with FaultServer(dense()) as server:
        server.always = fault
        with pytest.raises(LocalaiError) as caught:
            look_at(server.url(), GIB, Hub(""))
    assert caught.value.error_id == error_id
    assert caught.value.hint


def test_a_server_without_ranges_is_read_from_its_begin() -> None:
    with FaultServer(dense()) as server:
        server.always = Fault(ranges=False)
        assert look_at(server.url("a-Q4_0.gguf"), GIB, Hub("")).candidates[0].quantization == "Q4_0"


def test_plain_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.gguf").write_bytes(b"")
    for text, path in (("here.gguf", "here.gguf"), ("./x.gguf", "./x.gguf"), ("file:/a/b.gguf", "/a/b.gguf")):
        reference = parse_offered(text)
        assert (reference.scheme, reference.path) == ("file", path)
