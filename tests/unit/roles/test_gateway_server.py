"""The gateway's program without LiteLLM: its paths, its keys, its configuration."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import MutableMapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest
import yaml

ROLE = Path(__file__).parents[3] / "playbooks/roles/gateway"
CONFIG = Path(__file__).with_name("gateway_config.yml")


@pytest.fixture(scope="module")
def server() -> ModuleType:
    path = ROLE / "files" / "gateway_server.py"
    spec = importlib.util.spec_from_file_location("gateway_server_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def asked(server: ModuleType, path: str, kind: str = "http") -> list[MutableMapping[str, Any]]:
    """What is sent to who asks for a path; LiteLLM itself would answer ``{"type": "litellm"}``."""
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    async def receive() -> MutableMapping[str, Any]:
        return {}

    async def litellm(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "litellm"})

    asyncio.run(server.OnlyInference(litellm)({"type": kind, "path": path}, receive, send))
    return sent


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/health/liveliness"])
def test_inference_is_served(server: ModuleType, path: str) -> None:
    assert asked(server, path) == [{"type": "litellm"}]


@pytest.mark.parametrize(
    "path", ["/", "/ui/", "/docs", "/key/generate", "/v1/models/", "//v1/models", "/health"]
)
def test_nothing_else_is(server: ModuleType, path: str) -> None:
    start, body = asked(server, path)
    assert (start["status"], json.loads(body["body"])["error"]["code"]) == (404, "404")


def test_no_websocket_but_the_server_itself_starts(server: ModuleType) -> None:
    assert asked(server, "/v1/realtime", "websocket") == [{"type": "websocket.close", "code": 1008}]
    assert asked(server, "", "lifespan") == [{"type": "litellm"}]


def test_only_whole_keys_count(server: ModuleType) -> None:
    keys = ("first-key", "second-key")
    assert all(server.is_client_key(key, keys) for key in keys)
    others = ("", "first", "first-key ", "\udcff", "schlüssel")
    assert not any(server.is_client_key(key, keys) for key in others)
    assert not server.is_client_key("", ())


def test_keys_come_from_the_credential(
    server: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "api-key").write_text("one\ntwo\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    server.client_keys.cache_clear()
    assert server.client_keys() == ("one", "two")


def rendered(**variables: Any) -> str:
    defaults = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["to_json"] = json.dumps
    return environment.get_template("config.yml.j2").render(defaults | variables)


def test_the_configuration() -> None:
    replicas = [
        {"name": "nas", "url": "http://127.0.0.1:8080", "model": "small-q4"},
        {"name": "den", "url": "http://[fd00::7]:8080", "model": "small-q4"},
        {"name": "attic", "url": "http://192.0.2.12:9000", "model": 'with "quotes": and # marks'},
    ]
    text = rendered(gateway_replicas=replicas, gateway_health_interval_s=20)
    assert text == CONFIG.read_text()
    data = yaml.safe_load(text)
    assert [one["model_name"] for one in data["model_list"]] == [one["model"] for one in replicas]
    assert [one["model_info"]["id"] for one in data["model_list"]] == ["nas", "den", "attic"]
    assert all(one["litellm_params"]["api_key"].startswith("os.environ/") for one in data["model_list"])


def test_a_look_that_is_due_is_not_yet_stale() -> None:
    router = yaml.safe_load(rendered(gateway_health_interval_s=30))["router_settings"]
    assert router["health_check_staleness_threshold"] > 2 * 30
