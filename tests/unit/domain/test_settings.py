from __future__ import annotations

from typing import Any

import pytest

from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.settings import SETTINGS, Sourced, json_schema, resolve_settings, suggestion
from localai_deploy.domain.vm_settings import NODE_SETTINGS
from localai_deploy.errors import InputError


def resolve(**values: Any) -> dict[str, Any]:
    layer = {f"localai_{name}": Sourced(value, f"file:{name}") for name, value in values.items()}
    return {name: sourced.value for name, sourced in resolve_settings([layer]).items()}


def test_defaults_are_literal() -> None:
    values = resolve()
    assert values["localai_bind"] == "127.0.0.1"
    assert values["localai_port"] == 8080
    assert values["localai_context_length"] == 4096
    assert values["localai_gpu"] == ()
    assert values["localai_trust_first_download"] is False


def test_first_layer_wins() -> None:
    flag = {"localai_port": Sourced(9000, "flag --port")}
    file = {"localai_port": Sourced(9001, "host_vars/a.yml:1")}
    found = resolve_settings([flag, file])["localai_port"]
    assert (found.value, found.source) == (9000, "flag --port")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", 0),
        ("port", 65536),
        ("port", "eighty"),
        ("port", True),
        ("context_length", 12),
        ("bind", "0.0.0"),
        ("bind", "box; rm -rf /"),
        ("gpu", "auto,none"),
        ("gpu_accept", "everything"),
        ("runtime", "lama_cpp"),
        ("models", [3]),
        ("models", ["hf:a/b/x.gguf", "hf:c/d/x.gguf"]),
        ("models", "hf:a/b/x.bin"),
        ("mirrors", ["http://x"]),
        ("mirrors", {"conda": "ftp://x"}),
        ("mirrors", {"cnda": "http://x"}),
        ("host_key", "MD5:00"),
        ("trust_first_download", "yes"),
        ("conda_channel", "a b"),
        ("conda_channel", "../x"),
    ],
)
def test_bad_values_name_their_source(name: str, value: object) -> None:
    with pytest.raises(InputError) as caught:
        resolve(**{name: value})
    assert f"file:{name}" in caught.value.why
    assert caught.value.exit_code == 2


def test_mirror_urls_lose_their_slash() -> None:
    mirrors = resolve(mirrors={"conda": "http://192.0.2.1/conda/"})["localai_mirrors"]
    assert mirrors == Mirrors(conda="http://192.0.2.1/conda")
    assert mirrors.unauthenticated() == ("conda",)


def test_suggestion() -> None:
    assert suggestion("localai_prot") == "did you mean localai_port?"
    assert suggestion("completely_else") == ""


def test_schema_covers_all_settings() -> None:
    assert set(json_schema()["properties"]) == {setting.name for setting in (*SETTINGS, *NODE_SETTINGS)}
