"""Every host variable the tool understands: name, type, default, meaning.

This table is the only place where a setting and its default are written; the inventory reader,
``config show``, ``config check``, the JSON schema and the documentation are derived from it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.reference import parse_model_reference
from localai_deploy.errors import InputError

PREFIX = "localai_"


@dataclass(frozen=True, slots=True)
class Setting:
    """One host variable.

    :param check: takes the raw value, returns the typed one, raises InputError.
    :param schema: JSON schema of the value.
    """

    name: str
    default: Any
    meaning: str
    check: Callable[[str, Any], Any]
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sourced:
    """A value and where it came from (``flag --port``, ``host_vars/a.yml:3``, ``default``)."""

    value: Any
    source: str


def _invalid(name: str, value: object, expected: str) -> InputError:
    return InputError("setting-invalid", f"{name} is {value!r}", why=f"expected {expected}")


def _integer(minimum: int, maximum: int) -> tuple[Callable[[str, Any], int], dict[str, Any]]:
    def check(name: str, value: object) -> int:
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise _invalid(name, value, f"a whole number from {minimum} to {maximum}")
        return int(value)

    return check, {"type": "integer", "minimum": minimum, "maximum": maximum}


def _choice(*allowed: str) -> tuple[Callable[[str, Any], str], dict[str, Any]]:
    def check(name: str, value: object) -> str:
        if value not in allowed:
            raise _invalid(name, value, f"one of {', '.join(allowed)}")
        return str(value)

    return check, {"enum": list(allowed)}


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _invalid(name, value, "true or false")
    return value


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _invalid(name, value, "text")
    return str(value)


def _channel(name: str, value: object) -> str:
    text = _text(name, value)
    if not text or not all(
        part and part.replace("-", "").replace("_", "").isalnum() for part in text.split("/")
    ):
        raise _invalid(name, value, "a channel's name, such as conda-forge")
    return text


def _address(name: str, value: object) -> str:
    import ipaddress

    text = _text(name, value)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise _invalid(name, value, "an IP address, such as 127.0.0.1") from error


def _models(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise _invalid(name, value, "a list of model references")
    references = tuple(str(item) for item in value)
    names = [parse_model_reference(reference).file_name for reference in references]
    twice = sorted({file_name for file_name in names if names.count(file_name) > 1})
    if twice:
        raise _invalid(name, value, f"distinct file names ({', '.join(twice)} is there twice)")
    return references


def _mirrors(name: str, value: object) -> Mirrors:
    if not isinstance(value, Mapping):
        raise _invalid(name, value, "a mapping of mirror names to URLs")
    return Mirrors.from_mapping(value)


def _host_key(name: str, value: object) -> str:
    import re

    text = _text(name, value)
    if text and not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", text):
        raise _invalid(name, value, "a fingerprint as `ssh-keygen -l` prints it (SHA256:…)")
    return text


_PORT = _integer(1, 65535)
_CONTEXT = _integer(256, 16_777_216)
_PARALLEL = _integer(1, 256)
_RUNTIME = _choice("llama_cpp")
_GPU = _choice("none")
_PROVIDER = _choice("rattler", "miniforge")
_BOOL_SCHEMA = {"type": "boolean"}
_TEXT_SCHEMA = {"type": "string"}

SETTINGS: tuple[Setting, ...] = (
    Setting(
        "localai_models",
        (),
        "model references; the first one is served, the others are kept in the store",
        _models,
        {"type": ["array", "string"], "items": {"type": "string"}},
    ),
    Setting("localai_runtime", "llama_cpp", "inference runtime", *_RUNTIME),
    Setting("localai_gpu", "none", "the card that computes; none: the CPU", *_GPU),
    Setting("localai_context_length", 4096, "tokens of context, all slots together", *_CONTEXT),
    Setting("localai_parallel", 1, "requests served at once; they share the context", *_PARALLEL),
    Setting("localai_bind", "127.0.0.1", "address the API listens on", _address, _TEXT_SCHEMA),
    Setting("localai_port", 8080, "TCP port of the API", *_PORT),
    Setting("localai_conda_provider", "rattler", "what installs the conda environment", *_PROVIDER),
    Setting(
        "localai_conda_channel", "conda-forge", "channel of the runtime's packages", _channel, _TEXT_SCHEMA
    ),
    Setting(
        "localai_mirrors",
        Mirrors(),
        "base URLs in place of the public ones: conda, huggingface, pypi, miniforge",
        _mirrors,
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                name: {"type": "string", "pattern": "^https?://"}
                for name in ("conda", "huggingface", "pypi", "miniforge")
            },
        },
    ),
    Setting("localai_host_key", "", "SHA256 fingerprint of the host's SSH key", _host_key, _TEXT_SCHEMA),
    Setting(
        "localai_trust_first_download",
        False,  # noqa: FBT003
        "take the hash of the first download of an https model for granted, and record it",
        _boolean,
        _BOOL_SCHEMA,
    ),
)

BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


def suggestion(name: str, known: Iterable[str] = BY_NAME) -> str:
    """``did you mean …?`` for a mistyped name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]}?" if close else ""


def resolve_settings(layers: Iterable[Mapping[str, Sourced]]) -> dict[str, Sourced]:
    """Typed values of all settings; the first layer that names a setting wins.

    :raises InputError: ``setting-invalid`` naming the setting's source.
    """
    layers = list(layers)
    return {setting.name: _resolve(setting, layers) for setting in SETTINGS}


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
    """JSON schema of a host's variables, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "localai-deploy host variables",
        "type": "object",
        "properties": {
            setting.name: {**setting.schema, "description": setting.meaning} for setting in SETTINGS
        },
        "patternProperties": {f"^(?!{PREFIX})": {}},
        "additionalProperties": False,
    }
