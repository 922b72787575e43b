"""Every error id that the source can raise is explained, and nothing else is."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from localai_deploy.cli.catalogue import catalogue
from localai_deploy.explanations import Explanation

ROOT = Path(__file__).parents[2]


def raises_ours(path: Path) -> bool:
    """The embedded node's API has errors of its own, in another server's words."""
    return "sandbox" not in path.parts or "localai_deploy.errors" in path.read_text()


SOURCES = [
    *(path for path in (ROOT / "localai_deploy").rglob("*.py") if raises_ours(path)),
    *(ROOT / "playbooks" / "roles").glob("*/files/*.py"),
]
RAISERS = {"LocalaiError", "InputError", "_blocker", "_warning", "Finding", "Refusal", "_refused"}


def raised_ids() -> set[str]:
    found: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args:
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                first = node.args[0]
                if name in RAISERS and isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
            found |= ids_in_dict(node)
    return found


def ids_in_dict(node: ast.AST) -> set[str]:
    """``{"error_id": "…"}``, as the roles' programs print it."""
    if not isinstance(node, ast.Dict):
        return set()
    pairs = zip(node.keys, node.values, strict=True)
    return {
        value.value
        for key, value in pairs
        if isinstance(key, ast.Constant) and key.value == "error_id"
        if isinstance(value, ast.Constant) and value.value
    }


def test_the_scan_finds_ids() -> None:
    assert {"port-taken", "host-key-unknown", "model-hash-mismatch", "usage", "service-died"} <= raised_ids()


def test_all_are_explained() -> None:
    assert sorted(raised_ids() - set(catalogue())) == []


@pytest.mark.parametrize(
    ("error_id", "entry"), sorted(catalogue().items()), ids=lambda x: x if isinstance(x, str) else ""
)
def test_entries_are_whole(error_id: str, entry: Explanation) -> None:
    assert error_id == error_id.lower().replace("_", "-")
    assert all((entry.title, entry.cause, entry.detection, entry.fix))
