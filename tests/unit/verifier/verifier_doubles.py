"""A healthy host as plain evidence, in the shapes that the probes print, and all checks held against it."""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gpu_samples import BENCH, GPU, WORK

from localai_deploy.verifier import checks
from localai_deploy.verifier.checking import declaration
from localai_deploy.verifier.evidence import EndpointAnswers, GatewayAnswers, HostState, ModelDigests
from localai_deploy.verifier.expectations import Expected
from localai_deploy.verifier.gpu_evidence import GpuState, GpuWork
from localai_deploy.verifier.probes import bootstrap
from localai_deploy.verifier.questions import GATEWAY_MUST_BE_ABSENT, GATEWAY_MUST_REFUSE, name_of

PREFIX = "/opt/localai-deploy/envs/llama_cpp"
SERVER = f"{PREFIX}/bin/llama-server"
MODEL = "/var/lib/localai-deploy/models/small.gguf"
SERVER_ARCHIVE = "aa" * 32
SERVER_FILE = "bb" * 32
LIBRARY_FILE = "cc" * 32
MODEL_FILE = "dd" * 32
COMMAND = [
    *(SERVER, "--model", MODEL, "--alias", "small", "--host", "127.0.0.1", "--port", "8080"),
    *("-c", "4096", "-ngl", "31", "--parallel", "2", "--fit", "off"),
    *("--api-key-file", "{api_key_file}", "--metrics", "--offline"),
]
RECORD = {
    "schema": 1,
    "managed_by": "localai-deploy",
    "name": "alpha",
    "runtime": "llama_cpp",
    "variant": "cuda",
    "prefix": PREFIX,
    "package": "llama.cpp 0.7.0 cpu_lab_0",
    "context_length": 4096,
    "parallel": 2,
    "gpu_layers": 31,
    "devices": ["10de:22ba", "10de:2684"],
    "gateway": {
        "bind": "127.0.0.1",
        "port": 4000,
        "clients": [],
        "replicas": [
            {"name": "alpha", "address": "127.0.0.1", "port": 8080, "model": "small"},
            {"name": "beta", "address": "192.0.2.8", "port": 8080, "model": "small"},
        ],
    },
    "service": {
        "name": "localai-llama-cpp",
        "bind": "127.0.0.1",
        "port": 8080,
        "command": COMMAND,
        "environment": {},
        "health_path": "/health",
        "open_paths": ["/health", "/v1/health", "/"],
    },
}
EXPECTED = {
    "record": RECORD,
    "packages": {
        "llama.cpp": {"version": "0.7.0", "build": "cpu_lab_0", "sha256": SERVER_ARCHIVE},
        "lab-glibc": {"version": "2.43", "build": "lab_0", "sha256": "ee" * 32},
    },
    "model_sha256": {"small.gguf": MODEL_FILE},
}
STATE = {
    "record": {"value": RECORD, "error": ""},
    "unit": {
        "LoadState": "loaded",
        "ActiveState": "active",
        "SubState": "running",
        "UnitFileState": "enabled",
        "NRestarts": "0",
        "MainPID": "812",
        "User": "localai",
        "DropInPaths": "",
    },
    "unit_has_key": False,
    "process": {
        "pid": 812,
        "executable": SERVER,
        "executable_sha256": SERVER_FILE,
        "arguments": [
            "/run/credentials/localai-llama-cpp.service/api-key" if word == "{api_key_file}" else word
            for word in COMMAND
        ],
        "environment_names": ["CREDENTIALS_DIRECTORY", "PATH"],
        "has_key": False,
        "uids": [998, 998, 998, 998],
        "user": "localai",
    },
    "prefix": PREFIX,
    "packages": [
        {
            "file": "llama.cpp-0.7.0-cpu_lab_0.json",
            "name": "llama.cpp",
            "version": "0.7.0",
            "build": "cpu_lab_0",
            "sha256": SERVER_ARCHIVE,
        },
        {
            "file": "lab-glibc-2.43-lab_0.json",
            "name": "lab-glibc",
            "version": "2.43",
            "build": "lab_0",
            "sha256": "ee" * 32,
        },
    ],
    "files": [
        {"path": SERVER, "sha256": SERVER_FILE, "recorded_sha256": SERVER_FILE, "package": "llama.cpp"},
        {
            "path": f"{PREFIX}/lib/libllama.so",
            "sha256": LIBRARY_FILE,
            "recorded_sha256": LIBRARY_FILE,
            "package": "llama.cpp",
        },
    ],
    "mapped_models": [MODEL],
    "model_records": {"small.gguf": MODEL_FILE},
    "version": {"returncode": 0, "output": "version: 0.7.0 (build 11669, commit Debian)\nbuilt with GNU\n"},
    "listeners": [{"address": "127.0.0.1", "port": 8080, "pid": 812, "process": "llama-server"}],
    "key_file": {"mode": "0600", "uid": 0, "gid": 0, "is_regular": True, "shortest_key": 43},
    "exposure": {"tool": True, "level": 1.2, "error": ""},
    "server_log": [
        "0.00.303.001 I load_tensors: offloaded 31/31 layers to GPU",
        "0.00.304.075 I load_tensors:   CPU_Mapped model buffer size =    28.69 MiB",
        "0.00.304.077 I load_tensors:        CUDA0 model buffer size =    92.10 MiB",
        "0.00.305.945 I llama_kv_cache:      CUDA0 KV buffer size =    90.00 MiB",
        "0.00.717.670 I sched_reserve:      CUDA0 compute buffer size =    97.00 MiB",
    ],
    "pci_devices": ["8086:29c0", "1af4:1041", "10de:2684", "10de:22ba"],
}
REFUSED = {
    "GET /v1/models": 401,
    "GET /props": 401,
    "GET /metrics": 401,
    "GET /slots": 401,
    "POST /v1/chat/completions": 401,
    "POST /v1/completions": 401,
    "POST /v1/embeddings": 401,
    "POST /completion": 401,
    "POST /tokenize": 401,
    "POST /infill": 401,
    "GET /docs": 404,
    "GET /": 404,
    "GET /health": 200,
    "GET /v1/health": 200,
}
ENDPOINT = {
    "error": "",
    "has_key": True,
    "health": {"status": 200, "text": '{"status":"ok"}'},
    "without_key": REFUSED,
    "wrong_key": REFUSED,
    "models": {
        "status": 200,
        "models": [
            {
                "id": "small",
                "meta": {"n_params": 134515008, "size": 96576768, "n_vocab": 49152, "n_ctx_train": 8192},
            }
        ],
    },
    "props": {
        "status": 200,
        "build_info": "b11669-Debian",
        "model_path": MODEL,
        "model_alias": "small",
        "total_slots": 2,
    },
    "slots": {"status": 200, "context_lengths": [2048, 2048]},
    "metrics_status": 200,
    "completion": {
        "status": 200,
        "wall_s": 0.8,
        "error": "",
        "model": "small",
        "text": "Paris.",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 37, "completion_tokens": 4},
        "timings": {"prompt_per_second": 120.0, "predicted_per_second": 80.5},
    },
    "stream": {"status": 200, "events": 9, "last": "[DONE]", "error": ""},
}
DIGESTS = {
    "sha256": {MODEL: MODEL_FILE},
    "errors": {},
    "total_bytes": 98362432,
    "seconds": 0.2,
    "questions": 1,
}


GATEWAY: dict[str, Any] = {
    "error": "",
    "health_status": 200,
    "key_file": {"mode": "0600", "uid": 0, "gid": 0, "is_regular": True, "shortest_key": 43},
    "replica_keys_mode": "0600",
    "without_key": dict.fromkeys(map(name_of, GATEWAY_MUST_REFUSE), 401)
    | dict.fromkeys(map(name_of, GATEWAY_MUST_BE_ABSENT), 404),
    "wrong_key": dict.fromkeys(map(name_of, GATEWAY_MUST_REFUSE), 401)
    | dict.fromkeys(map(name_of, GATEWAY_MUST_BE_ABSENT), 404),
    "models": {"status": 200, "names": ["small"]},
    "completions": [{"model": "small", "status": 200, "replica": "beta", "text": "Paris.", "error": ""}],
}


def changed(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of ``data`` with the value at ``path`` (``a/b/0``) replaced."""
    found = copy.deepcopy(data)
    *parents, last = path.split("/")
    place: Any = found
    for step in parents:
        place = place[int(step) if isinstance(place, list) else step]
    if isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return found


def verdicts(
    expected: dict[str, Any] = EXPECTED,
    state: dict[str, Any] = STATE,
    endpoint: dict[str, Any] = ENDPOINT,
    digests: dict[str, Any] = DIGESTS,
    gateway: dict[str, Any] = GATEWAY,
    gpu: dict[str, Any] = GPU,
    work: dict[str, Any] = WORK,
    bench: dict[str, Any] = BENCH,
) -> dict[str, tuple[str, str]]:
    """Check's id → how it ended (``pass``, ``fail``, ``skip``) and why."""
    fixtures = {
        "expected": Expected.from_data(expected),
        "state": HostState.from_data(state),
        "endpoint": EndpointAnswers.from_data(endpoint),
        "digests": ModelDigests(**digests),
        "devices": Expected.from_data(expected).devices,
        "gateway": GatewayAnswers.from_data(gateway),
        "planned_card": Expected.from_data(expected).devices,
        "gpu": GpuState.from_data(gpu),
        "work": GpuWork.from_data(work),
        "bench": bench,
    }
    return {check_id: _verdict(function, fixtures) for check_id, function in all_checks()}


def all_checks() -> Iterator[tuple[str, Any]]:
    """Every shipped check: its id and its function."""
    for path in sorted(Path(checks.__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"{checks.__name__}.{path.stem}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if name.startswith("test_") and function.__module__ == module.__name__:
                declared = declaration(function)
                assert declared is not None, f"{name} of {path.name} is no check"
                yield declared[0], function


def _verdict(function: Any, fixtures: dict[str, Any]) -> tuple[str, str]:
    wanted = inspect.signature(function).parameters
    arguments = {name: {} if name == "evidence" else fixtures[name] for name in wanted}
    try:
        function(**arguments)
    except pytest.fail.Exception as failure:
        return "fail", str(failure)
    except pytest.skip.Exception as skipped:
        return "skip", str(skipped)
    return "pass", ""


def run_command(command: str) -> dict[str, Any]:
    """Run a probe's command here and read its evidence."""
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, check=True, env={"PATH": path()}
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith(bootstrap.MARK)]
    evidence: dict[str, Any] = json.loads(line.removeprefix(bootstrap.MARK))
    return evidence


def path() -> str:
    """Where the shell finds ``python3``: this one, which has the package, and must not use it."""
    return f"{Path(sys.executable).parent}:/usr/bin:/bin"
