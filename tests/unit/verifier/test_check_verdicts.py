"""Each check against the evidence of a healthy host, and against that host with one thing wrong."""

from __future__ import annotations

from typing import Any

import pytest
from verifier_doubles import (
    COMMAND,
    DIGESTS,
    ENDPOINT,
    EXPECTED,
    GATEWAY,
    MODEL,
    PREFIX,
    RECORD,
    REFUSED,
    SERVER,
    STATE,
    all_checks,
    changed,
    verdicts,
)

CHECKS = [
    "record",
    "environment-locked",
    "service-active",
    "executable",
    "command-line",
    "devices-present",
    "gateway-completion",
    "gateway-key",
    "gateway-models",
    "hardening",
    "port-bound",
    "key-file",
    "key-required",
    "health",
    "models-listed",
    "completion",
    "runtime-build",
    "model-hash",
    "offload",
    "gpu-driver",
    "gpu-card",
    "gpu-kernel",
    "gpu-offload",
    "gpu-memory",
    "gpu-work",
    "gpu-xid",
    "bench",
]
ARGUMENTS: list[str] = STATE["process"]["arguments"]


def replaced(words: list[str], old: str, new: str) -> list[str]:
    assert old in words
    return [new if word == old else word for word in words]


def without(words: list[str], *gone: str) -> list[str]:
    assert set(gone) <= set(words)
    return [word for word in words if word not in gone]


def red(found: dict[str, tuple[str, str]]) -> set[str]:
    return {check_id for check_id, (outcome, _) in found.items() if outcome == "fail"}


def test_these_checks_are_shipped() -> None:
    assert sorted(check_id for check_id, _ in all_checks()) == sorted(CHECKS)


def test_a_healthy_host_passes_all() -> None:
    assert verdicts() == dict.fromkeys(CHECKS, ("pass", ""))


STATE_FAULTS: list[tuple[str, str, Any, str]] = [
    ("record", "record", {"value": None, "error": "x is not there"}, "x is not there"),
    ("record", "record/value", ["no", "object"], "is not a record of this version"),
    ("record", "record/value/managed_by", "another-tool", "is not a record of this version"),
    ("record", "record/value/schema", 2, "is not a record of this version"),
    ("record", "record/value/context_length", 8192, "context_length is 8192, not 4096"),
    ("record", "record/value/gpu_layers", 31.0, "gpu_layers is 31.0, not 31"),
    ("record", "record/value/service/port", 8081, "service.port is 8081, not 8080"),
    ("record", "record/value/extra", 1, "extra is not expected"),
    ("devices-present", "pci_devices", [], "10de:22ba is there not at all, not 1 times"),
    (
        "devices-present",
        "pci_devices",
        ["8086:29c0", "1af4:1041", "1234:1111"],
        "10de:2684 is there not at all",
    ),
    (
        "devices-present",
        "pci_devices",
        ["10de:2684", "10de:2684", "10de:2782"],
        "10de:22ba is there not at all",
    ),
    ("environment-locked", "packages", STATE["packages"][:1], "lab-glibc of the lock is not installed"),
    ("environment-locked", "packages/1/sha256", "00" * 32, "lab-glibc came from an archive of SHA-256 0000"),
    ("environment-locked", "packages/1/sha256", "", "lab-glibc came from an archive of SHA-256 unknown"),
    ("environment-locked", "packages/1/build", "lab_1", "lab-glibc is 2.43 lab_1, not 2.43 lab_0"),
    ("environment-locked", "packages/1/version", "2.44", "lab-glibc is 2.44 lab_0, not 2.43 lab_0"),
    ("service-active", "unit", {}, "localai-llama-cpp.service is unknown to systemd"),
    ("service-active", "unit/ActiveState", "failed", "localai-llama-cpp.service is failed (running)"),
    ("service-active", "unit/SubState", "auto-restart", "is active (auto-restart)"),
    ("service-active", "unit/UnitFileState", "disabled", "is disabled: it will not start with the host"),
    ("service-active", "unit/NRestarts", "4", "was restarted 4 times"),
    ("service-active", "unit/User", "", "the unit's User= is ''"),
    ("service-active", "unit/User", "root", "the unit's User= is 'root'"),
    ("service-active", "process/user", "admin", "its process is admin's"),
    ("service-active", "process/uids", [998, 998, 0, 998], "process 812 runs as root"),
    ("executable", "process/executable", "/usr/bin/llama-server", f"outside of {PREFIX}"),
    ("executable", "process/executable", f"{PREFIX}-2/bin/llama-server", f"outside of {PREFIX}"),
    ("executable", "process/executable", f"{PREFIX}/bin/x", "no package of the environment recorded"),
    ("executable", "process/executable", f"{SERVER} (deleted)", "no package of the environment recorded"),
    ("executable", "process/executable_sha256", "00" * 32, "is not the file that llama.cpp installed"),
    ("executable", "files/0/package", "lab-glibc", "is of package lab-glibc, not llama.cpp"),
    ("executable", "files", [], "no package of the environment recorded"),
    ("executable", "files/1/sha256", "00" * 32, "libllama.so is not as llama.cpp installed it"),
    ("executable", "files/1/sha256", "", "libllama.so is not as llama.cpp installed it"),
    ("executable", "files/1/package", "", "libllama.so, which no package recorded"),
    ("executable", "files/1/path", f"{PREFIX}/lib/libllama.so (deleted)", "it was replaced since"),
    ("command-line", "process/arguments", replaced(ARGUMENTS, "4096", "8192"), "-c is 8192, not 4096"),
    ("command-line", "process/arguments", replaced(ARGUMENTS, "31", "99"), "-ngl is 99, not 31"),
    ("command-line", "process/arguments", replaced(ARGUMENTS, "off", "on"), "--fit is on, not off"),
    ("command-line", "process/arguments", without(ARGUMENTS, "--fit", "off"), "--fit is missing"),
    ("command-line", "process/arguments", [*ARGUMENTS, "--host", "::"], "--host is 127.0.0.1 ::, not"),
    ("command-line", "process/arguments", [*ARGUMENTS, "--no-mmap"], "--no-mmap is not in the plan"),
    (
        "command-line",
        "process/arguments",
        replaced(ARGUMENTS, "/run/credentials/localai-llama-cpp.service/api-key", "/tmp/api-key"),
        "--api-key-file is /tmp/api-key, not {api_key_file}",
    ),
    ("hardening", "exposure/level", 1.6, "systemd-analyze security gives 1.6; at most 1.5"),
    ("hardening", "exposure/level", 9.6, "systemd-analyze security gives 9.6"),
    ("hardening", "exposure", {"tool": True, "level": None, "error": "no bus"}, "no bus"),
    ("port-bound", "listeners", [], "does not listen on 127.0.0.1 port 8080"),
    ("port-bound", "listeners/0/address", "0.0.0.0", "does not listen on 127.0.0.1 port 8080"),
    ("port-bound", "listeners/0/port", 8081, "listens on 127.0.0.1 port 8081 too"),
    ("port-bound", "listeners/0/pid", 99, "llama-server (99) listens on 127.0.0.1 port 8080"),
    (
        "port-bound",
        "listeners",
        [*STATE["listeners"], {"address": "::", "port": 8080, "pid": 7, "process": "other"}],
        "other (7) listens on :: port 8080",
    ),
    (
        "port-bound",
        "listeners",
        [*STATE["listeners"], {"address": "192.0.2.1", "port": 9, "pid": 812, "process": "llama-server"}],
        "the service listens on 192.0.2.1 port 9 too",
    ),
    ("key-file", "key_file", None, "/etc/localai-deploy/api-key is not there"),
    ("key-file", "key_file/mode", "0640", "has mode 0640, not 0600"),
    ("key-file", "key_file/mode", "0400", "has mode 0400, not 0600"),
    ("key-file", "key_file/uid", 998, "is of 998:0, not root:root"),
    ("key-file", "key_file/gid", 998, "is of 0:998, not root:root"),
    ("key-file", "key_file/is_regular", False, "is not a regular file"),
    ("key-file", "key_file/shortest_key", 31, "a key has 31 characters"),
    ("key-file", "unit_has_key", True, "the key stands in the unit"),
    ("key-file", "process/has_key", True, "the key stands in the service's arguments or environment"),
    ("runtime-build", "version", {"returncode": 127, "output": ""}, "tells no build (exit status 127)"),
    (
        "runtime-build",
        "version/output",
        "version: 0.8.0 (build 12000, commit x)\n",
        "the program is 0.8.0 12000, not of llama.cpp 0.7.0",
    ),
    (
        "runtime-build",
        "version/output",
        "version: 0.7.0 (build 11670, commit x)\n",
        "the server says 'b11669-Debian', its program is build 11670",
    ),
    ("model-hash", "mapped_models", [f"{MODEL} (deleted)"], "the file was replaced since"),
]


@pytest.mark.parametrize(("check_id", "path", "value", "detail"), STATE_FAULTS)
def test_one_fault_of_the_host_turns_one_check_red(check_id: str, path: str, value: Any, detail: str) -> None:
    found = verdicts(state=changed(STATE, path, value))
    assert red(found) == {check_id}
    assert detail in found[check_id][1]


ENDPOINT_FAULTS: list[tuple[str, str, Any, str]] = [
    ("health", "health", {"status": 503, "text": "loading"}, "GET /health gives 503: loading"),
    ("models-listed", "models/models", [], "the models are none, not small alone"),
    ("models-listed", "models/models/0/id", "other", "the models are other, not small alone"),
    ("models-listed", "models/models/0/meta/n_params", 0, "its n_params is 0"),
    ("models-listed", "models/models/0/meta/n_ctx_train", None, "its n_ctx_train is None"),
    ("completion", "completion/text", " \n", "the completion has no text"),
    ("completion", "completion/usage", {}, "counts no prompt_tokens; the completion counts no completion"),
    ("completion", "completion/usage/completion_tokens", 0, "counts no completion_tokens"),
    ("completion", "completion/timings", {}, "tells no tokens per second"),
    ("completion", "completion", {"status": 500, "wall_s": 1, "error": "boom"}, "gives 500: boom"),
    ("completion", "completion", {"status": 0, "wall_s": 9, "error": "timed out"}, "no answer: timed out"),
    ("completion", "stream/last", '{"choices": []}', "not [DONE]"),
    ("completion", "stream/events", 1, "ends after 1 events"),
    ("completion", "stream/status", 500, "the stream gives 500"),
    ("runtime-build", "props/build_info", None, "the server says None"),
    ("runtime-build", "props/build_info", "b1-x", "the server says 'b1-x', its program is build 11669"),
    ("runtime-build", "props/total_slots", 4, "the server has 4 slots, not 2"),
    ("runtime-build", "slots/context_lengths", [4096, 4096], "are [4096, 4096], not 2 of 2048"),
    ("runtime-build", "slots/context_lengths", [2048], "are [2048], not 2 of 2048"),
    ("runtime-build", "slots/context_lengths", [2047, 2048], "are [2047, 2048], not 2 of 2048"),
    ("key-required", "without_key/GET ~1metrics", 200, "GET /metrics gives 200 without a key, not 401"),
    ("key-required", "without_key/GET ~1metrics", 404, "GET /metrics gives 404 without a key, not 401"),
    ("key-required", "without_key/POST ~1completion", 400, "POST /completion gives 400 without a key"),
    ("key-required", "without_key/POST ~1infill", 501, "POST /infill gives 501 without a key and is not"),
    ("key-required", "without_key/POST ~1infill", 0, "POST /infill gives no answer without a key and is not"),
    ("key-required", "wrong_key/GET ~1v1~1models", 200, "GET /v1/models gives 200 with a wrong key, not 401"),
    ("key-required", "without_key/GET ~1v1~1health", 401, "/v1/health is listed as open but gives 401"),
    ("key-required", "without_key/GET ~1", 0, "GET / is listed as open but gives no answer"),
    ("key-required", "has_key", False, "no key can be read"),
    ("key-required", "props/status", 401, "GET /props gives 401 with the key"),
]


@pytest.mark.parametrize(("check_id", "path", "value", "detail"), ENDPOINT_FAULTS)
def test_one_fault_of_the_api_turns_one_check_red(check_id: str, path: str, value: Any, detail: str) -> None:
    found = verdicts(endpoint=faulty_endpoint(path, value))
    assert red(found) == {check_id}
    assert detail in found[check_id][1]


def faulty_endpoint(path: str, value: Any) -> dict[str, Any]:
    """The endpoint's evidence with one value changed; ``~1`` stands for a slash within a name."""
    if path.partition("/")[0] in {"without_key", "wrong_key"}:
        table, question = path.split("/")
        return {**ENDPOINT, table: {**REFUSED, question.replace("~1", "/"): value}}
    return changed(ENDPOINT, path, value)


def test_a_server_that_refuses_the_key_too_is_noticed() -> None:
    endpoint = changed(changed(ENDPOINT, "models", {"status": 401, "models": []}), "props/status", 401)
    found = verdicts(endpoint=endpoint)
    assert red(found) == {"key-required", "models-listed"}


def test_an_open_server_is_red_for_every_path() -> None:
    opened = dict.fromkeys(REFUSED, 200)
    found = verdicts(endpoint={**ENDPOINT, "without_key": opened, "wrong_key": opened})
    assert red(found) == {"key-required"}
    for question in ("GET /v1/models", "GET /props", "POST /v1/chat/completions", "POST /infill"):
        assert f"{question} gives 200 without a key" in found["key-required"][1]


def test_what_is_not_asked_cannot_count_as_refused() -> None:
    asked = {question: status for question, status in REFUSED.items() if question != "GET /slots"}
    found = verdicts(endpoint={**ENDPOINT, "without_key": asked})
    assert red(found) == {"key-required"}
    assert "GET /slots gives no answer without a key, not 401" in found["key-required"][1]


def test_an_open_path_of_the_record_must_have_been_asked() -> None:
    expected = changed(EXPECTED, "record/service/open_paths", ["/health", "/v1/health", "/", "/ui"])
    found = verdicts(expected=expected, state=changed(STATE, "record/value", expected["record"]))
    assert red(found) == {"key-required"}
    assert "GET /ui is listed as open but was not asked" in found["key-required"][1]


def test_a_stopped_service_is_red_wherever_it_is_needed() -> None:
    state = changed(changed(STATE, "process", None), "listeners", [])
    state = changed(changed(state, "unit/ActiveState", "inactive"), "unit/SubState", "dead")
    found = verdicts(state=changed(state, "files", []), endpoint={"error": "Connection refused"})
    green = {"record", "environment-locked", "devices-present", "key-file", "hardening", "model-hash"}
    of_cards = {one for one in CHECKS if one.startswith("gpu-")} | {"bench"}
    green |= {one for one in CHECKS if one.startswith("gateway-")}
    assert red(found) - of_cards == set(CHECKS) - green - of_cards
    assert found["completion"][1] == "the API does not answer: Connection refused"


def test_no_tool_for_hardening_is_a_skip_with_its_reason() -> None:
    found = verdicts(state=changed(STATE, "exposure", {"tool": False, "level": None, "error": "no tool"}))
    assert found["hardening"] == ("skip", "no tool")
    assert not red(found)


def test_another_model_is_red() -> None:
    found = verdicts(digests=changed(DIGESTS, "sha256", {MODEL: "00" * 32}))
    assert red(found) == {"model-hash"}
    assert "has SHA-256 0000" in found["model-hash"][1]


def test_an_unreadable_model_is_red() -> None:
    digests = {**DIGESTS, "sha256": {}, "errors": {MODEL: "Input/output error"}}
    found = verdicts(digests=digests)
    assert red(found) == {"model-hash"}
    assert found["model-hash"][1] == f"{MODEL} cannot be read: Input/output error"


UNKNOWN = changed(EXPECTED, "model_sha256", {"small.gguf": ""})


def test_a_hash_taken_on_trust_is_the_one_recorded_on_the_host() -> None:
    assert verdicts(expected=UNKNOWN)["model-hash"] == ("pass", "")
    found = verdicts(expected=UNKNOWN, state=changed(STATE, "model_records", {"small.gguf": "00" * 32}))
    assert red(found) == {"model-hash"}


def test_a_model_without_any_known_hash_is_skipped_with_the_reason() -> None:
    found = verdicts(expected=UNKNOWN, state=changed(STATE, "model_records", {}))
    assert found["model-hash"][0] == "skip"
    assert "no hash is known for small.gguf" in found["model-hash"][1]


def test_a_model_without_known_hash_must_still_be_there() -> None:
    digests = {**DIGESTS, "sha256": {}, "errors": {MODEL: "No such file or directory"}}
    found = verdicts(expected=UNKNOWN, state=changed(STATE, "model_records", {}), digests=digests)
    assert red(found) == {"model-hash"}


def test_the_server_package_from_another_archive_is_red_twice() -> None:
    found = verdicts(state=changed(STATE, "packages/0/sha256", "00" * 32))
    assert red(found) == {"environment-locked", "executable"}


def test_a_build_that_is_only_numbered() -> None:
    record = {**RECORD, "package": "llama.cpp 0.0.6872 cpu_0"}
    packages = {
        **EXPECTED["packages"],
        "llama.cpp": {"version": "0.0.6872", "build": "cpu_0", "sha256": "aa" * 32},
    }
    expected = {**EXPECTED, "record": record, "packages": packages}
    state = changed(STATE, "record/value", record)
    state = changed(changed(state, "packages/0/version", "0.0.6872"), "packages/0/build", "cpu_0")
    state = changed(state, "version/output", "version: 6872 (abc1234)\nbuilt with cc\n")
    endpoint = changed(ENDPOINT, "props/build_info", "b6872-abc1234")
    assert not red(verdicts(expected=expected, state=state, endpoint=endpoint))
    assert red(verdicts(expected=expected, state=state)) == {"runtime-build"}


def test_the_order_of_arguments_is_the_plans() -> None:
    arguments = [COMMAND[0], *ARGUMENTS[3:5], *ARGUMENTS[1:3], *ARGUMENTS[5:]]
    found = verdicts(state=changed(STATE, "process/arguments", arguments))
    assert found["command-line"] == ("fail", "the arguments stand in another order")


ON_CARDS = [
    "load_tensors: offloading output layer to GPU",
    "load_tensors: offloaded 17/47 layers to GPU",
    "load_tensors:   CPU_Mapped model buffer size =  9815.10 MiB",
    "load_tensors:        CUDA0 model buffer size =  5975.25 MiB",
    "llama_kv_cache:      CUDA0 KV buffer size =   256.00 MiB",
    "sched_reserve:      CUDA0 compute buffer size =   254.00 MiB",
    "sched_reserve:  CUDA_Host compute buffer size =    25.01 MiB",
]


ON_HOST = [
    "0.00.304.075 I load_tensors:   CPU_Mapped model buffer size =    92.10 MiB",
    "0.00.305.945 I llama_kv_cache:        CPU KV buffer size =    90.00 MiB",
]


def offload(log: list[str], planned: int) -> tuple[str, str]:
    expected = changed(EXPECTED, "record/gpu_layers", planned)
    return verdicts(expected, changed(STATE, "server_log", log))["offload"]


def test_the_planned_layers_are_on_the_card() -> None:
    assert offload(ON_CARDS, 17) == ("pass", "")
    assert offload(ON_HOST, 0) == ("pass", "")


@pytest.mark.parametrize(
    ("log", "planned", "detail"),
    [
        (ON_HOST, 17, "17 layers are planned on cards, and the server tells of none there"),
        ([], 17, "no card holds weights"),
        (ON_CARDS, 47, "17 of 47 layers are on cards, not 47"),
        (ON_CARDS, 0, "CUDA0 holds weights, and no layer is planned there"),
        (["load_tensors: offloaded 0/47 layers to GPU"], 17, "0 of 47 layers are on cards, not 17"),
        ([ON_CARDS[1]], 17, "no card holds weights"),
    ],
    ids=["cpu-only-build", "no-log", "fewer", "none-planned", "ngl-0", "no-weights"],
)
def test_another_offload_than_planned_is_red(log: list[str], planned: int, detail: str) -> None:
    outcome, why = offload(log, planned)
    assert (outcome, detail in why) == ("fail", True)


GATEWAY_FAULTS: list[tuple[str, str, Any, str]] = [
    ("gateway-key", "without_key/GET ~v1~models", 200, "GET /v1/models gives 200 without a key, not 401"),
    ("gateway-key", "wrong_key/POST ~v1~embeddings", 0, "gives no answer with a wrong key, not 401"),
    ("gateway-key", "without_key/GET ~docs", 200, "GET /docs gives 200 without a key, not 404"),
    ("gateway-key", "without_key/POST ~key~generate", 401, "gives 401 without a key, not 404"),
    ("gateway-key", "key_file", None, "gateway-api-key is not there"),
    ("gateway-key", "key_file/mode", "0644", "is not root's alone (mode 0644)"),
    ("gateway-key", "key_file/uid", 998, "is not root's alone"),
    ("gateway-key", "key_file/shortest_key", 0, "a key has 0 characters"),
    ("gateway-key", "replica_keys_mode", "0640", "replica-keys.json has mode 0640, not 0600"),
    ("gateway-key", "replica_keys_mode", "", "has mode (absent), not 0600"),
    ("gateway-models", "models", {"status": 200, "names": []}, "it lists [], not ['small']"),
    ("gateway-models", "models/names", ["other", "small"], "it lists ['other', 'small']"),
    ("gateway-completion", "completions/0/status", 500, "small: 500"),
    ("gateway-completion", "completions/0/status", 0, "small: no answer"),
    ("gateway-completion", "completions/0/text", " ", "small: the answer is empty"),
    ("gateway-completion", "completions/0/replica", "gamma", "names gamma, none of ['alpha', 'beta']"),
    ("gateway-completion", "completions/0/replica", "", "the answer names nobody"),
    ("gateway-completion", "completions", [], "no model was asked"),
]


@pytest.mark.parametrize(("check_id", "path", "value", "text"), GATEWAY_FAULTS)
def test_a_fault_of_the_gateway_is_told_by_its_check(check_id: str, path: str, value: Any, text: str) -> None:
    keys = path.split("/")
    faulty = changed_at(GATEWAY, [key.replace("~", "/") for key in keys], value)
    found = verdicts(gateway=faulty)
    assert red(found) == {check_id}
    assert text in found[check_id][1]


def changed_at(data: Any, keys: list[str], value: Any) -> Any:
    """A copy of ``data`` with one value replaced."""
    first, *rest = keys
    new = changed_at(data[int(first) if isinstance(data, list) else first], rest, value) if rest else value
    if isinstance(data, list):
        return [new if number == int(first) else one for number, one in enumerate(data)]
    return {**data, first: new}


def test_a_gateway_that_is_down_fails_all_its_checks() -> None:
    assert red(verdicts(gateway={"error": "Connection refused"})) == {
        "gateway-completion",
        "gateway-key",
        "gateway-models",
    }
