"""``fit``: its table, its document, and what is refused; headers are small real ones, nothing is fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli.fit_data import CONVERTED
from localai_deploy.cli.output import load_schema
from localai_deploy.domain.models.catalogue import ON_CPU
from localai_deploy.domain.models.chat import CHAT_7B
from tests.integration.card_place import card_place
from tests.integration.pve_flow import node_environment
from tests.unit.cli.conftest import Ended
from tests.unit.cli.fit_models import dense, mixture
from tests.unit.cli.test_help import parse
from tests.unit.domain.gguf_writing import gguf, pair, tensor
from tests.unit.domain.safetensors.published import PUBLISHED
from tests.unit.hub.hub_double import Hub

Run = Callable[..., Ended]
MIB = 1 << 20


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "lab-7b-Q4_0.gguf-header"
    path.write_bytes(dense())
    return str(path)


@pytest.fixture
def experts(tmp_path: Path) -> str:
    path = tmp_path / "lab-moe-Q4_0.gguf-header"
    path.write_bytes(mixture())
    return str(path)


def document(done: Ended) -> dict[str, Any]:
    """What was printed, held against its schema."""
    found = json.loads(done.out)
    validator = Draft202012Validator(load_schema(found["schema"].split("/")[1]))
    assert [error.message for error in validator.iter_errors(found)] == []
    return dict(found)


def test_the_table(model: str, run: Run) -> None:
    done = run("fit", "--model", model, "--gpu", "RTX 3060", "--vram", "3GiB", "--ram", "32GiB")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "lab-7b-Q4_0.gguf-header  llama, 5.9e9 values, 4.5 bits each, 3.1 GiB"
    assert re.fullmatch(r"  -c 4096 -ngl 1\d -ub 512 -np 1 -fa on -ctk f16 -ctv f16", lines[1])
    assert [line.split()[:1] for line in lines[4:6]] == [["NVIDIA"], ["host"]]
    assert any(re.fullmatch(r"  1\d of 33 layers on the card", line) for line in lines)
    assert any(" tokens/s instead of " in line for line in lines)


def test_the_document(model: str, run: Run) -> None:
    found = document(run("fit", "--model", model, "--gpu", "10de:2503", "-o", "json"))
    card, host = found["devices"]
    assert (card["kind"], card["name"], host["kind"]) == ("gpu", "NVIDIA GeForce RTX 3060", "host")
    assert card["kv_bytes"] == 4096 * 32 * 2 * 1024 * 2
    assert (found["gpu_layers"], found["layers"], found["basis"]) == (33, 33, "formula")
    assert found["tokens_per_second"] > 10
    assert (found["fits"], found["problem"], found["nearest"]) == (True, None, [])


@pytest.mark.parametrize("layers", ["99", "all", "33"])
def test_all_layers(layers: str, model: str, run: Run) -> None:
    found = document(run("fit", "--model", model, "--vram", "24GiB", "--gpu-layers", layers, "-o", "json"))
    assert found["gpu_layers"] == 33
    assert (found["tokens_per_second"], found["basis"]) == (None, "unknown")


def test_an_impossible_wish_names_the_nearest_possible(model: str, run: Run) -> None:
    words = ("fit", "--model", model, "--gpu", "RTX 3060", "--vram", "3GiB", "--gpu-layers", "all")
    done = run(*words)
    assert done.code == 3
    assert "[fit-does-not-fit]" in done.err
    assert "of 33 layers on the card" in done.err
    assert "holds everything as wished" in done.err
    ended = run(*words, "-o", "json")
    found = document(ended)
    assert ended.code == 3
    assert found["problem"]["id"] == "fit-does-not-fit"
    assert 0 < found["nearest"][0]["wish"]["gpu_layers"] < 33
    assert found["devices"][0]["weights_bytes"] > 3 << 30, "what was wished is told all the same"


def test_too_little_of_everything(model: str, run: Run) -> None:
    done = run("fit", "--model", model, "--ram", "2GiB")
    assert done.code == 3
    assert "the host needs " in done.err


def test_experts_move_to_the_host(experts: str, run: Run) -> None:
    found = document(run("fit", "--model", experts, "--gpu", "RTX 3060", "--vram", "4GiB", "-o", "json"))
    assert found["gpu_layers"] == 33
    assert 0 < found["cpu_expert_layers"] < 32
    fixed = ("--cpu-moe", "32", "--gpu-layers", "all")
    found = document(run("fit", "--model", experts, "--vram", "24GiB", *fixed, "-o", "json"))
    assert found["cpu_expert_layers"] == 32
    assert found["devices"][1]["weights_bytes"] > 32 * 16 * 3 * 4096 * 1024 * 18 // 32


def test_cache_types_and_slots(model: str, run: Run) -> None:
    def cache(*words: str) -> int:
        return document(run("fit", "--model", model, "--vram", "24GiB", *words, "-o", "json"))["devices"][0][
            "kv_bytes"
        ]

    plain = cache()
    assert cache("--cache-type-k", "q8_0", "--cache-type-v", "q8_0") == plain * 34 // 64
    assert cache("--context", "8192", "--parallel", "2") == 2 * plain


def test_the_largest_context(model: str, run: Run) -> None:
    found = document(run("fit", "--model", model, "--vram", "24GiB", "--context", "max", "-o", "json"))
    assert found["wish"]["context"] == 8192, "what it was trained for"
    found = document(run("fit", "--model", model, "--vram", "5GiB", "--context", "max", "-o", "json"))
    assert 256 <= found["wish"]["context"] < 8192
    assert found["gpu_layers"] == 33


def test_several_cards(model: str, run: Run) -> None:
    found = document(run("fit", "--model", model, "--gpu", "RTX 3060", "--gpu", "Tesla P4", "-o", "json"))
    assert [one["name"] for one in found["devices"]] == ["NVIDIA GeForce RTX 3060", "Tesla P4", "host"]
    assert all(one["weights_bytes"] for one in found["devices"])


def test_a_measured_run_calibrates_the_next_estimate(model: str, tmp_path: Path, run: Run) -> None:
    words = ("fit", "--model", model, "--gpu", "RTX 3060", "-o", "json")
    formula = document(run(*words))
    told = run(*words, "--measured", "40")
    assert (document(told)["tokens_per_second"], document(told)["basis"]) == (40, "measured")
    (tmp_path / "here.json").write_text(told.out)
    found = document(run(*words, "--calibration", str(tmp_path / "here.json")))
    assert found["basis"] == "calibrated"
    assert found["tokens_per_second"] == pytest.approx(40, abs=0.1)
    assert formula["tokens_per_second"] != pytest.approx(40, abs=0.1)


@pytest.mark.parametrize(
    ("words", "code", "error_id"),
    [
        (("--model", "MODEL", "--model", "MODEL"), 2, "usage"),
        (("--model", "MODEL", "--node", "pve1", "--gpu", "RTX 3090"), 2, "usage"),
        (("--model", "MODEL", "--vram", "eight"), 2, "size-invalid"),
        (("--model", "MODEL", "--gpu", "RTX 9999 XTX"), 2, "gpu-name-unknown"),
        (("--model", "MODEL", "--gpu", "10de:28a1", "--context", "x"), 2, "usage"),
        (("--model", "MODEL", "--gpu", "1002:73bf"), 3, "gpu-not-nvidia"),
        (("--model", "MODEL", "--gpu-layers", "-1"), 2, "usage"),
        (("--model", "MODEL", "--gpu-layers", "most"), 2, "usage"),
        (("--model", "MODEL", "--context", "0"), 2, "usage"),
        (("--model", "MODEL", "--parallel", "0"), 2, "usage"),
        (("--model", "MODEL", "--cache-type-k", "q3"), 2, "usage"),
        (("--model", "MODEL", "--bandwidth", "-1"), 2, "usage"),
        (("--model", "MODEL", "--gpu", "RTX 3060", "--measured", "0"), 2, "fit-measurement-invalid"),
        (
            ("--model", "MODEL", "--cache-type-v", "q8_0", "--flash-attention", "off"),
            3,
            "fit-wish-impossible",
        ),
        (("--model", "MODEL", "--host", "--vram", "8GiB"), 2, "usage"),
        (("--model", "no-such-model-of-mine"), 2, "model-reference-invalid"),
        (("--model", "/no/such/file.gguf"), 3, "model-file-missing"),
        (("--model", "hf:one-word"), 2, "model-reference-invalid"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_what_is_refused(words: tuple[str, ...], code: int, error_id: str, model: str, run: Run) -> None:
    done = run("fit", *(model if word == "MODEL" else word for word in words), "-o", "json")
    assert done.code == code
    assert document(done)["error"]["id"] == error_id


BAD_FILES = {
    "page.gguf": (b"<!DOCTYPE html><html></html>", "model-format-wrong"),
    "empty.gguf": (b"", "gguf-truncated"),
    "cut.gguf": (dense()[:4000], "gguf-truncated"),
    "no-weights.gguf": (dense(), "gguf-truncated"),
    "future.gguf": (gguf([], [], version=4), "gguf-version-unknown"),
    "hostile.gguf": (gguf([], [], counts=(1 << 60, 1 << 60)), "gguf-header-invalid"),
    "picture.gguf": (
        gguf([pair("general.architecture", "str", "clip")], [tensor("v.patch_embd.weight", (32,))])
        + bytes(128),
        "fit-model-unknown",
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(name: str, tmp_path: Path, run: Run) -> None:
    content, error_id = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    done = run("fit", "--model", str(tmp_path / name), "--vram", "8GiB", "-o", "json")
    assert done.code == 3
    error = document(done)["error"]
    assert error["id"] == error_id
    assert error["hint"]


def test_an_unknown_architecture_of_known_parts_is_bounded(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "new.gguf-header"
    path.write_bytes(dense().replace(b"llama", b"lemur"))
    found = document(run("fit", "--model", str(path), "--vram", "24GiB", "-o", "json"))
    assert found["model"]["architecture"] == "lemur"
    assert found["devices"][0]["margin_bytes"] > 0


def test_99_means_all_of_more(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "deep.gguf-header"
    path.write_bytes(dense(blocks=120))
    words = ("fit", "--model", str(path), "--vram", "48GiB", "-o", "json")
    found = [document(run(*words, "--gpu-layers", count))["gpu_layers"] for count in ("99", "98")]
    assert found == [121, 98]


DOCS = Path(__file__).parents[3] / "docs" / "fit.md"
DOCS_LINES = re.findall(r"^\$ localai-deploy (.+)$", DOCS.read_text(), re.MULTILINE)


@pytest.mark.parametrize("line", DOCS_LINES)
def test_command_lines_of_the_page_can_be_parsed(line: str) -> None:
    parse(line)


def test_the_page_has_command_lines() -> None:
    assert len(DOCS_LINES) >= 5


class ServingHub(Hub):
    """A hub whose files are all the small model."""

    def content(self, path: str) -> bytes:
        return dense()


def test_through_a_hub(environment: dict[str, str], run: Run) -> None:
    sizes = {"m-Q4_0.gguf": 3 << 30, "m-F16.gguf": 11 << 30, "m-Q8_0.gguf": 6 << 30}
    with ServingHub(files={path: ("0" * 64, size) for path, size in sizes.items()}) as hub:
        environment["HF_ENDPOINT"] = hub.endpoint
        ended = run("fit", "--model", "hf:lab/model", "--gpu", "RTX 3060", "--vram", "5GiB", "-o", "json")
    found = document(ended)
    assert (ended.code, found["model"]["name"], found["model"]["header_read"]) == (0, "m-Q4_0.gguf", True)
    reasons = {one["quantization"]: one["why_not"] for one in found["not_chosen"]}
    assert reasons["Q8_0"].startswith("not whole on the card: ")
    assert reasons["F16"].startswith("not whole on the card: ") or "nothing" in reasons["F16"]


def test_without_a_model_the_catalogue_has_one(environment: dict[str, str], run: Run) -> None:
    environment["HF_ENDPOINT"] = "http://127.0.0.1:9"
    for words, name in ((("--vram", "24GiB"), CHAT_7B[0].name), ((), ON_CPU)):
        done = run("fit", *words)
        assert done.err.startswith(f"no --model: taking {name}\n")
        assert "[hub-unreachable]" in done.err


def test_a_nodes_cards(environment: dict[str, str], model: str, run: Run) -> None:
    with card_place() as there:
        environment |= node_environment(there.sandbox)
        environment["LOCALAI_DEPLOY_SANDBOX_DIR"] = f"{environment['HOME']}/none"
        found = document(run("fit", "--model", model, "--node", "pve1", "-o", "json"))
    assert "NVIDIA GeForce RTX 4090" in [one["name"] for one in found["devices"]]
    assert found["devices"][-1]["memory_bytes"] > 0


def companion(tmp_path: Path, name: str, architecture: str = "clip") -> str:
    path = tmp_path / name
    pairs = [pair("general.architecture", "str", architecture)]
    sizes = {"embedding_length": 1024, "feed_forward_length": 4096, "attention.head_count": 16}
    pairs += [pair(f"clip.vision.{key}", "u32", value) for key, value in sizes.items()]
    path.write_bytes(gguf(pairs, [tensor("v.blk.0.attn_q.weight", (1024, 1024), 1)]))
    return str(path)


def test_what_runs_beside_a_model(model: str, tmp_path: Path, run: Run) -> None:
    draft = tmp_path / "small.gguf-header"
    draft.write_bytes(dense(blocks=2))
    words = ("fit", "--model", model, "--vram", "24GiB")
    more = ("--draft", str(draft), "--projector", companion(tmp_path, "mmproj.gguf-header"))
    plain = document(run(*words, "-o", "json"))["devices"]
    both = document(run(*words, *more, "-o", "json"))["devices"]
    assert [(one["draft_bytes"], one["projector_bytes"]) for one in plain] == [(0, 0), (0, 0)]
    assert both[0]["draft_bytes"] > 200 * MIB
    assert both[0]["projector_bytes"] > 2 * MIB
    assert both[1]["projector_bytes"] == 0
    beside = both[0]["draft_bytes"] + both[0]["projector_bytes"]
    assert both[0]["total_bytes"] == plain[0]["total_bytes"] + beside
    assert "projector ▞" in run(*words, *more).out
    assert "projector" not in run(*words).out


def test_what_runs_beside_a_model_takes_layers_from_the_card(model: str, tmp_path: Path, run: Run) -> None:
    words = ("fit", "--model", model, "--vram", "4GiB", "-o", "json")
    more = ("--projector", companion(tmp_path, "mmproj.gguf-header"))
    assert document(run(*words, *more))["gpu_layers"] < document(run(*words))["gpu_layers"]


def test_what_can_run_beside_no_model(model: str, tmp_path: Path, run: Run) -> None:
    cases = {
        ("--projector", model): "fit-projector-unknown",
        ("--draft", companion(tmp_path, "mmproj.gguf-header")): "fit-model-unknown",
        ("--draft", "hf:lab/model"): "model-reference-invalid",
    }
    for words, error_id in cases.items():
        done = run("fit", "--model", model, *words, "-o", "json")
        assert document(done)["error"]["id"] == error_id


def test_original_weights(tmp_path: Path, run: Run) -> None:
    told, rows = PUBLISHED["gemma2-9b"]()
    place, table = 0, {}
    for row in rows:
        offsets = [place, place := place + row.size_bytes]
        table[row.name] = {"dtype": row.dtype, "shape": list(row.shape), "data_offsets": offsets}
    head = json.dumps(table).encode()
    (tmp_path / "model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head)
    (tmp_path / "config.json").write_text(json.dumps(told))
    words = ("fit", "--model", str(tmp_path), "--gpu", "RTX 3060")
    found = document(run(*words, "-o", "json"))
    assert (found["model"]["architecture"], found["model"]["quantization"]) == ("gemma2", "Q8_0")
    assert (found["model"]["header_read"], found["confidence"]) == (False, "bound")
    assert found["assumptions"][0] == CONVERTED
    assert CONVERTED in run(*words).out


def test_the_type_of_the_cache(model: str, run: Run) -> None:
    words = (
        "fit",
        "--model",
        model,
        "--gpu",
        "RTX 3060",
        "--vram",
        "4GiB",
        "--context",
        "8192",
        "-o",
        "json",
    )
    plain = document(run(*words))
    assert plain["wish"]["cache_type_k"] == "f16"
    assert plain["faster"][0]["wish"]["cache_type_v"] == "q8_0"
    chosen = document(run(*words, "--cache-type-k", "auto", "--cache-type-v", "auto"))
    assert chosen["wish"]["cache_type_k"] == "q8_0"
    assert chosen["gpu_layers"] == plain["faster"][0]["wish"]["gpu_layers"] > plain["gpu_layers"]
    assert "  faster: --gpu-layers " in run(*words[:-2]).out
    assert document(run(*words, "--cache-type-k", "auto"))["error"]["id"] == "usage"


def tool(tmp_path: Path, environment: dict[str, str], printed: str) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    (place / "llama-fit-params").write_text(f"#!/bin/sh\nprintf '{printed}'\necho odd >&2\n")
    (place / "llama-fit-params").chmod(0o755)
    environment["PATH"] = f"{place}:{environment.get('PATH', '/usr/bin:/bin')}"


def test_a_second_opinion(tmp_path: Path, environment: dict[str, str], run: Run) -> None:
    path = tmp_path / "lab-Q4_0.gguf"
    path.write_bytes(dense(blocks=1))
    with path.open("r+b") as stream:
        stream.truncate(1 << 30)
    words = ("fit", "--model", str(path), "--host")
    assert "no llama-fit-params" in document(run(*words, "-o", "json"))["second_opinion"]["skipped"]
    tool(tmp_path, environment, "Host 250 16 90\\n")
    found = document(run(*words, "-o", "json"))
    assert found["second_opinion"]["devices"][0]["weights_bytes"] == 250 * MIB
    assert "Host: weights 250 MiB (" in run(*words).out
    assert document(run(*words[:-1], "-o", "json"))["second_opinion"] is None


def test_a_second_opinion_that_cannot_be_had(
    model: str, tmp_path: Path, environment: dict[str, str], run: Run
) -> None:
    tool(tmp_path, environment, "CUDA0 1 2 3\\nCUDA1 1 2 3\\nHost 1 2 3\\n")
    assert "is not on this machine" in run("fit", "--model", model, "--host").out
    path = tmp_path / "lab-Q4_0.gguf"
    path.write_bytes(dense(blocks=1) + bytes(1 << 20))
    with path.open("r+b") as stream:
        stream.truncate(1 << 30)
    assert "speaks of 3 devices: odd" in run("fit", "--model", str(path), "--host").out
