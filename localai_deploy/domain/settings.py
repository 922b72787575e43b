"""Every host variable the tool understands: name, type, default, meaning.

This table is the only place where a setting and its default are written; the inventory reader,
``config show``, ``config check``, the JSON schema and the documentation are derived from it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from localai_deploy.domain.archives import VARIANTS
from localai_deploy.domain.fit.wish import CACHE_BITS
from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.setting import (
    BOOLEAN_SCHEMA,
    TEXT_SCHEMA,
    TEXTS_SCHEMA,
    Setting,
    address,
    archives,
    boolean,
    channel,
    choice,
    host_key,
    host_name,
    integer,
    mirrors,
    models,
    networks,
    word_or_integer,
)
from localai_deploy.domain.vm_settings import NODE_SETTINGS, VM_SETTINGS
from localai_deploy.errors import InputError

PREFIX = "localai_"


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and where it came from (``flag --port``, ``host_vars/a.yml:3``, ``default``)."""

    value: Any
    source: str


_PORT = integer(1, 65535)
_CONTEXT = integer(256, 16_777_216)
_PARALLEL = integer(1, 256)
_GPU_LAYERS = word_or_integer(("auto", "all"), 0, 9999)
_CACHE_TYPE = choice(*CACHE_BITS)
_FLASH_ATTENTION = choice("on", "off")
_UBATCH = integer(1, 65536)
_RUNTIME = choice("llama_cpp")
_DRIVER = choice("auto", "distribution", "nvidia", "none")
_PROVIDER = choice("rattler", "miniforge")

HOST_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "localai_models",
        (),
        "model references; the first one is served, the others are kept in the store; none: what the host "
        "has, else one of the catalogue that its card takes, or a small one for the CPU",
        models,
        TEXTS_SCHEMA,
    ),
    Setting("localai_runtime", "llama_cpp", "inference runtime", *_RUNTIME),
    Setting("localai_context_length", 4096, "tokens of context, all slots together", *_CONTEXT),
    Setting("localai_parallel", 1, "requests served at once; they share the context", *_PARALLEL),
    Setting(
        "localai_gpu_layers",
        "auto",
        "layers on the cards: auto (as many as fit), all, or a number; 99 and more mean all",
        *_GPU_LAYERS,
    ),
    Setting(
        "localai_cache_type_k",
        "f16",
        "type of the cache's keys; smaller ones leave room for layers, at some cost in answers",
        *_CACHE_TYPE,
    ),
    Setting(
        "localai_cache_type_v",
        "f16",
        "type of the cache's values; quantised ones need flash attention",
        *_CACHE_TYPE,
    ),
    Setting("localai_flash_attention", "on", "on, or off for cards without it", *_FLASH_ATTENTION),
    Setting("localai_ubatch", 512, "tokens of a prompt computed at once", *_UBATCH),
    Setting("localai_bind", "127.0.0.1", "address the API listens on", address, TEXT_SCHEMA),
    Setting("localai_port", 8080, "TCP port of the API", *_PORT),
    Setting(
        "localai_clients",
        (),
        "addresses or networks that may reach the API in clear text, when it listens beyond loopback",
        networks,
        TEXTS_SCHEMA,
    ),
    Setting(
        "localai_api_gateway_bind",
        "127.0.0.1",
        "of the host of group gateway: address the gateway listens on",
        address,
        TEXT_SCHEMA,
    ),
    Setting("localai_api_gateway_port", 4000, "TCP port of the gateway", *_PORT),
    Setting(
        "localai_api_gateway_clients",
        (),
        "addresses or networks that may reach the gateway in clear text, when it listens beyond loopback",
        networks,
        TEXTS_SCHEMA,
    ),
    Setting(
        "localai_driver",
        "auto",
        "where the card's driver comes from: one package source, either (auto), or none: no card is used",
        *_DRIVER,
    ),
    Setting("localai_conda_provider", "rattler", "what installs the conda environment", *_PROVIDER),
    Setting(
        "localai_conda_channel", "conda-forge", "channel of the runtime's packages", channel, TEXT_SCHEMA
    ),
    Setting(
        "localai_runtime_archives",
        {},
        "for cpu, cuda12 or cuda13: archives of the runtime's releases (https://…#sha256=…), taken in place "
        "of the channel's packages; the first one holds the server",
        archives,
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                variant: {"type": ["array", "string"], "items": {"type": "string"}} for variant in VARIANTS
            },
        },
    ),
    Setting(
        "localai_mirrors",
        Mirrors(),
        "base URLs in place of the public ones: conda, huggingface, pypi, miniforge, github, images, apt",
        mirrors,
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                field.name: {"type": "string", "pattern": "^https?://"} for field in fields(Mirrors)
            },
        },
    ),
    Setting(
        "localai_model_cache",
        "",
        "another host of the same run that is asked first for models, for those of its own localai_models",
        host_name,
        TEXT_SCHEMA,
    ),
    Setting("localai_host_key", "", "SHA256 fingerprint of the host's SSH key", host_key, TEXT_SCHEMA),
    Setting(
        "localai_trust_first_download",
        False,  # noqa: FBT003
        "take the hash of the first download of an https model for granted, and record it",
        boolean,
        BOOLEAN_SCHEMA,
    ),
)

SETTINGS = (*HOST_SETTINGS, *VM_SETTINGS)
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


def suggestion(name: str, known: Iterable[str] = BY_NAME) -> str:
    """``did you mean …?`` for a mistyped name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def resolve_settings(layers: Iterable[Mapping[str, Sourced]]) -> dict[str, Sourced]:
    """Typed values of all settings; the first layer that names a setting wins.

    :raises InputError: ``setting-invalid`` naming the setting's source.
    """
    return resolve_all(SETTINGS, layers)


def resolve_all(settings: Iterable[Setting], layers: Iterable[Mapping[str, Sourced]]) -> dict[str, Sourced]:
    """The same for any table of settings."""
    layers = list(layers)
    return {setting.name: _resolve(setting, layers) for setting in settings}


def _resolve(setting: Setting, layers: Iterable[Mapping[str, Sourced]]) -> Sourced:
    for layer in layers:
        if setting.name in layer:
            sourced = layer[setting.name]
            return Sourced(_checked(setting, sourced), sourced.source)
    return Sourced(setting.default, "default")


def _checked(setting: Setting, sourced: Sourced) -> Any:  # noqa: ANN401
    try:
        return setting.check(setting.name, sourced.value)
    except InputError as error:
        raise InputError(
            error.error_id,
            error.what,
            why=f"{error.why} (in {sourced.source})" if error.why else f"in {sourced.source}",
            hint=error.hint,
        ) from error


def json_schema() -> dict[str, Any]:
    """JSON schema of a host's variables, a node's included, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "localai-deploy host variables",
        "type": "object",
        "properties": {
            setting.name: {**setting.schema, "description": setting.meaning}
            for setting in (*SETTINGS, *NODE_SETTINGS)
        },
        "patternProperties": {f"^(?!{PREFIX})": {}},
        "additionalProperties": False,
    }
