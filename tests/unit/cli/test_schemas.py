"""What ``-o json`` prints is what the shipped schemas say; hosts are doubles here, real in test_cli.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli.main import COMMANDS
from localai_deploy.cli.output import HOST_VARIABLES, load_schema, schema_names
from localai_deploy.domain.settings import PREFIX, Sourced, resolve_settings
from localai_deploy.errors import InputError
from localai_deploy.inventory.specs import Overrides, load_hosts
from tests.unit.cli.conftest import Ended

CASES = Path(__file__).parents[2] / "golden" / "cases"
PRINTED = {
    "config",
    "config-check",
    "doctor",
    "down",
    "driver",
    "error",
    "explain",
    "fit",
    "fit-matrix",
    "init",
    "gpu-info",
    "gpu-list",
    "gpu-move",
    "gpu-release",
    "inventory-refresh",
    "model-catalogue",
    "model-list",
    "model-pull",
    "model-rm",
    "model-verify",
    "node-check",
    "node-permissions",
    "node-prepare",
    "plan",
    "render",
    "sandbox-reset",
    "sandbox-start",
    "sandbox-status",
    "sandbox-stop",
    "status",
    "up",
    "verify",
}
MODEL = ("--model", "hf:ORG/REPO/small-q4.gguf")


def problems(document: Any) -> list[str]:
    """Where a printed document differs from the schema that it names."""
    _, name, version = document["schema"].split("/")
    assert version == "v1"
    validator = Draft202012Validator(load_schema(name))
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def test_the_set_is_literal() -> None:
    assert set(schema_names()) == {HOST_VARIABLES, *PRINTED}
    assert {name.partition("-")[0] for name in PRINTED} - {"error"} == set(COMMANDS) - {"completion"}


@pytest.mark.parametrize("name", sorted([HOST_VARIABLES, *PRINTED]))
def test_schemas_are_schemas(name: str, run: Callable[..., Ended]) -> None:
    schema = json.loads(run("config", "schema", name).out)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False
    if name != HOST_VARIABLES:
        assert schema["properties"]["schema"] == {"const": f"localai-deploy/{name}/v1"}
        assert "schema" in schema["required"]


@pytest.mark.parametrize("name", sorted(PRINTED))
def test_objects_are_closed_unless_they_say_so(name: str) -> None:
    """``evidence``, ``completion``, ``deployment`` and the map of settings are open by design."""
    open_objects = []

    def visit(node: Any, path: str) -> None:
        if isinstance(node, dict):
            if (
                node.get("type") in ("object", ["object", "null"])
                and node.get("additionalProperties") is not False
            ):
                open_objects.append(path.rpartition("/")[2])
            for key, value in node.items():
                visit(value, f"{path}/{key}")

    visit(load_schema(name), "")
    assert set(open_objects) <= {"evidence", "completion", "deployment", "settings"}


@pytest.mark.parametrize("case", sorted(path.name for path in CASES.iterdir()))
def test_plans_of_all_golden_cases(case: str) -> None:
    plan = json.loads((CASES / case / "plan.json").read_text())
    assert problems({"schema": "localai-deploy/plan/v1", "hosts": [plan]}) == []


@pytest.mark.parametrize(
    ("words", "hosts", "name"),
    [
        (("explain",), None, "explain"),
        (("explain", "usage"), None, "explain"),
        (("config", "show", "box"), None, "config"),
        (("config", "check", "box"), None, "config-check"),
        (("upp",), None, "error"),
        (("plan", "box", *MODEL), {"box": "second-run"}, "plan"),
        (("plan", "box", *MODEL, "--bind", "192.0.2.7"), {"box": "second-run"}, "plan"),
        (("up", "box", *MODEL, "--bind", "192.0.2.7"), {"box": "second-run"}, "up"),
        (("up", "box", *MODEL, "--dry-run"), {"box": "second-run"}, "plan"),
        (("up", "box", *MODEL, "--context", "1024"), {"box": "second-run"}, "error"),
        (("status", "box"), {"box": "second-run"}, "status"),
        (("status", "box"), {"box": "record-corrupt"}, "status"),
        (("status", "box"), {"box": "fresh-debian13"}, "status"),
        (("down", "box"), {"box": "fresh-debian13"}, "down"),
        (("verify", "box"), {"box": "fresh-debian13"}, "error"),
    ],
    ids=lambda one: " ".join(one) if isinstance(one, tuple) else "",
)
def test_documents(
    words: tuple[str, ...], hosts: dict[str, str] | None, name: str, run: Callable[..., Ended]
) -> None:
    document = run(*words, "-o", "json", hosts=hosts).data
    assert document["schema"] == f"localai-deploy/{name}/v1"
    assert problems(document) == []


@pytest.mark.parametrize(
    "words", [("plan",), ("status",), ("up", "--yes"), ("down", "inference"), ("verify",)], ids=" ".join
)
def test_documents_of_hosts_that_are_down(
    words: tuple[str, ...], inventory: Path, run: Callable[..., Ended]
) -> None:
    hosts = {"one": "down", "two": "down"}
    document = run(*words, "-i", str(inventory), "-o", "json", hosts=hosts).data
    assert problems(document) == []
    assert [one["error"]["id"] for one in document["hosts"]] == ["host-unreachable", "host-unreachable"]


def test_a_document_of_another_shape_is_noticed() -> None:
    document = {"schema": "localai-deploy/render/v1", "directory": "/p", "more": 1}
    assert problems(document) == ["$: Additional properties are not allowed ('more' was unexpected)"]


LEFT = ["VM 1001 keeps scsi1 until it is next shut down"]
ERROR = {"id": "guest-stopped", "what": "VM 1001 stopped", "why": "", "hint": "", "exit_code": 5}
DEPLOYED = {
    "host": "llm",
    "changed_tasks": 0,
    "left_over": LEFT,
    "endpoint": "http://127.0.0.1:8080/v1",
    "key_file": "/etc/localai-deploy/api-key",
    "tunnel": "ssh -N -L 8080:127.0.0.1:8080 admin@192.0.2.7",
    "model": {"file_name": "a.gguf", "sha256": ""},
    "inventory": "/home/me/inventory",
    "verification": {
        "host": "llm",
        "passed": True,
        "counts": {"pass": 1, "fail": 0, "skip": 0},
        "checks": [],
    },
    "completion": {},
}
BEGUN = {"host": "llm", "changed_tasks": 0, "left_over": LEFT, "error": ERROR}
VM = {"node": "pve1", "vmid": 1001, "status": "running", "address": "192.0.2.7", "disk_bytes": 1, "seed": ""}
OF_VMS = [
    ("up", {"exit_code": 0, "hosts": [DEPLOYED]}),
    (
        "up",
        {"exit_code": 5, "hosts": [{"host": "llm", "changed_tasks": 0, "left_over": LEFT, "error": ERROR}]},
    ),
    ("down", {"hosts": [{"host": "llm", "removed": True, "left_over": LEFT, "kept": ["image x stays"]}]}),
    ("status", {"hosts": [{"host": "llm", "state": "stopped", "vm": VM}]}),
    ("status", {"hosts": [{"host": "llm", "state": "absent", "vm": None}]}),
]


@pytest.mark.parametrize(("name", "document"), OF_VMS)
def test_what_only_vms_have(name: str, document: dict[str, Any]) -> None:
    """Literal documents; what commands print of VMs is held against the schemas in test_node_hosts.py."""
    whole = {"schema": f"localai-deploy/{name}/v1", **document}
    assert problems(whole) == []
    (host,) = document["hosts"]
    for key in host:
        if isinstance(host[key], list):
            assert problems({**whole, "hosts": [{**host, key: []}]}) != [], "an empty list is left away"


def test_config_of_an_inventory(inventory: Path, run: Callable[..., Ended]) -> None:
    for words in (("show",), ("check",)):
        assert problems(run("config", *words, "-i", str(inventory), "-o", "json").data) == []


GOOD_VARIABLES = [
    {},
    {"ansible_host": "192.0.2.1", "anything": "else"},
    {"localai_models": ["hf:ORG/REPO/a.gguf"], "localai_port": 8081, "localai_context_length": 8192},
    {"localai_models": "file:/srv/a.gguf", "localai_trust_first_download": True},
    {"localai_mirrors": {"conda": "https://mirror.example.org/conda"}},
    {"localai_mirrors": {"images": "http://192.0.2.1/images", "apt": "http://192.0.2.1/apt"}},
    {"localai_runtime": "llama_cpp", "localai_gpu": "none", "localai_conda_provider": "miniforge"},
    {"localai_gpu": ["0000:01:00", "RTX 4090"]},
]
BAD_VARIABLES = [
    {"localai_model": ["hf:ORG/REPO/a.gguf"]},
    {"localai_port": 0},
    {"localai_port": "high"},
    {"localai_gpu": 1},
    {"localai_mirrors": {"apt": "mirror.example.org"}},
    {"localai_mirrors": {"docker": "https://mirror.example.org"}},
    {"localai_mirrors": {"conda": "ftp://mirror.example.org"}},
    {"localai_trust_first_download": "yes"},
    {"localai_context_length": 1},
]


def test_host_variables() -> None:
    validator = Draft202012Validator(load_schema(HOST_VARIABLES))
    assert [one for one in GOOD_VARIABLES if not validator.is_valid(one)] == []
    assert [one for one in BAD_VARIABLES if validator.is_valid(one)] == []


@pytest.mark.parametrize("variables", GOOD_VARIABLES, ids=str)
def test_what_the_schema_takes_the_program_takes(variables: dict[str, Any]) -> None:
    ours = {name: Sourced(value, "") for name, value in variables.items() if name.startswith(PREFIX)}
    resolve_settings([ours])


@pytest.mark.parametrize("variables", BAD_VARIABLES, ids=str)
def test_what_the_schema_refuses_the_program_refuses(variables: dict[str, Any], tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.yml"
    inventory.write_text(json.dumps({"inference": {"hosts": {"box": variables}}}))
    with pytest.raises(InputError):
        load_hosts([], inventory, Overrides())
