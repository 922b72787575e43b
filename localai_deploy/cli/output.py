"""Results as JSON: every document names its schema, and every schema is shipped (``config schema NAME``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from localai_deploy.cli.terminal import show
from localai_deploy.errors import LocalaiError

HOST_VARIABLES = "host-variables"
_SCHEMAS = Path(__file__).with_name("schemas")
_SUFFIX = ".v1.json"


def schema_id(name: str) -> str:
    """What a document says in ``schema``."""
    return f"localai-deploy/{name}/v1"


def print_json(name: str, /, **data: object) -> None:
    """Print a document of the schema ``name`` on stdout."""
    show(json.dumps({"schema": schema_id(name), **data}, indent=2))


def error_data(error: LocalaiError) -> dict[str, object]:
    """An error inside a document."""
    return {
        "id": error.error_id,
        "what": error.what,
        "why": error.why,
        "hint": error.hint,
        "exit_code": int(error.exit_code),
    }


def schema_names() -> list[str]:
    """All schemas that :func:`load_schema` knows."""
    shipped = (path.name.removesuffix(_SUFFIX) for path in _SCHEMAS.glob(f"*{_SUFFIX}"))
    return sorted([HOST_VARIABLES, *shipped])


def load_schema(name: str) -> dict[str, Any]:
    """A JSON schema (draft 2020-12) by its name.

    :raises KeyError: there is none of that name.
    """
    if name == HOST_VARIABLES:
        from localai_deploy.domain.settings import json_schema

        return json_schema()
    if name not in schema_names():
        raise KeyError(name)
    return dict(json.loads((_SCHEMAS / f"{name}{_SUFFIX}").read_text(encoding="utf-8")))
