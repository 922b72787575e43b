"""A local AI runs on the machine and answers; written out here, so that no mistake agrees with itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.smoke.box import Box

UNIT = "localai-llama-cpp"
URL = "http://127.0.0.1:8080"
KEY_FILE = "/etc/localai-deploy/api-key"
PARTS_OF_THE_PROOF = {
    *("record", "environment-locked", "service-active", "executable", "command-line", "hardening"),
    *("port-bound", "key-file", "key-required", "health", "models-listed", "completion"),
    *("runtime-build", "model-hash"),
}
ASK = """
import json, sys, urllib.error, urllib.request
path, key, question = sys.argv[1], sys.argv[2], sys.argv[3].encode() or None
headers = {"Content-Type": "application/json"} | ({"Authorization": "Bearer " + key} if key else {})
try:
    with urllib.request.urlopen(urllib.request.Request(URL + path, question, headers), timeout=600) as reply:
        print(json.dumps([reply.status, json.load(reply)]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, None]))
""".replace("URL", repr(URL))
QUESTION = {"max_tokens": 16, "messages": [{"role": "user", "content": "Name a colour."}]}


def ask(box: Box, path: str, key: str = "", question: dict[str, Any] | None = None) -> tuple[int, Any]:
    """Status and answer of the API, asked on the machine itself."""
    text = json.dumps(question) if question else ""
    return tuple(json.loads(box.machine.check_output("python3 -c %s %s %s %s", ASK, path, key, text)))


def test_the_product_proves_it(report: dict[str, Any]) -> None:
    (host,) = report["hosts"]
    assert "error" not in host, host
    assert [one for one in host["checks"] if one["outcome"] == "fail"] == []
    assert {one["id"] for one in host["checks"] if one["outcome"] == "pass"} >= PARTS_OF_THE_PROOF


def test_the_service_runs_and_will_after_a_restart(box: Box) -> None:
    service = box.machine.service(UNIT)
    assert service.is_running
    assert service.is_enabled


def test_it_runs_as_a_user_without_rights(box: Box) -> None:
    pid = box.machine.check_output("systemctl show --value --property MainPID %s", UNIT)
    assert int(pid) > 1
    assert box.machine.check_output("stat --format %%U /proc/%s", pid) == "localai"


def test_only_the_machine_itself_reaches_it(box: Box) -> None:
    machine = box.machine
    assert machine.socket("tcp://127.0.0.1:8080").is_listening
    assert not machine.socket("tcp://0.0.0.0:8080").is_listening
    assert not machine.socket("tcp://:::8080").is_listening


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/slots"])
def test_nothing_is_told_without_the_key(box: Box, path: str) -> None:
    assert ask(box, path)[0] == 401


def test_it_answers(box: Box) -> None:
    key = box.machine.check_output("head -n 1 %s", KEY_FILE)
    status, answer = ask(box, "/v1/chat/completions", key, QUESTION)
    assert status == 200
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["usage"]["completion_tokens"] > 0
