"""Safetensors repositories from directories and over the wire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localai_deploy.errors import LocalaiError
from localai_deploy.hub.safetensors import read_directory, read_repository
from tests.unit.hub.server import FaultServer

CONFIG = {"model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64}


def weights(name: str, size: int) -> bytes:
    head = json.dumps({name: {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    return len(head).to_bytes(8, "little") + head + bytes(size)


def test_one_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(weights("a", 10))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    model = read_directory(tmp_path)
    assert [tensor.name for tensor in model.tensors] == ["a"]
    assert (model.architecture, model.metadata["llama.attention.head_count"]) == ("llama", 4)


def test_several_files_and_no_config(tmp_path: Path) -> None:
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for number, (tensor, name) in enumerate(names.items(), start=1):
        (tmp_path / name).write_bytes(weights(tensor, 10 * number))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    model = read_directory(tmp_path)
    assert [tensor.name for tensor in model.tensors] == ["a", "b"]
    assert model.architecture == ""


def test_over_the_wire() -> None:
    with FaultServer(weights("a", 10)) as server:
        assert [tensor.name for tensor in read_repository(server.url("repo")).tensors] == ["a"]


@pytest.mark.parametrize("name", ["../etc/passwd.safetensors", "a/b.safetensors", "weights.bin"])
def test_an_index_that_names_other_places(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(LocalaiError) as caught:
        read_directory(tmp_path)
    assert caught.value.error_id == "safetensors-header-invalid"


def test_no_weights(tmp_path: Path) -> None:
    with pytest.raises(LocalaiError) as caught:
        read_directory(tmp_path)
    assert caught.value.error_id == "model-file-missing"
