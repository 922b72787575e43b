"""The node must not judge itself: nothing is shared with the client, and start-up stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "localai_deploy"
SANDBOX = sorted((PACKAGE / "sandbox").rglob("*.py"))
AROUND = {
    "archive",
    "asking",
    "bodies",
    "cache",
    "container_kind",
    "control",
    "daemon",
    "ending",
    "explanations",
    "hardware_file",
    "own_node",
    "qemu_kind",
    "settings",
    "sweeping",
    "telling",
    "ways_out",
}
"""Modules around the node that start and end it: they know the connection record and our error shape."""
SHARED = {
    "localai_deploy.domain.pve.credentials",
    "localai_deploy.errors",
    "localai_deploy.explanations",
    "localai_deploy.sandbox_record",
}
OTHERS = [path for path in sorted(PACKAGE.rglob("*.py")) if path not in SANDBOX]
HEAVY = (
    "proxmoxer",
    "requests",
    "ansible",
    "huggingface_hub",
    "rattler",
    "click",
    "rich",
    "jinja2",
    "testinfra",
)


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def below(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@pytest.mark.parametrize("path", SANDBOX, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sandbox_takes_nothing_from_the_rest(path: Path) -> None:
    own = {name for name in imported(path) if below(name, "localai_deploy")}
    foreign = {name for name in own if not below(name, "localai_deploy.sandbox")} - {"localai_deploy"}
    allowed = SHARED if path.stem in AROUND else set()
    assert not {name for name in foreign if not any(below(name, one) for one in allowed)}
    assert not {name for name in imported(path) if name.partition(".")[0] in HEAVY}


@pytest.mark.parametrize("path", SANDBOX, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_node_knows_nothing_of_what_starts_it(path: Path) -> None:
    around = {f"localai_deploy.sandbox.{name}" for name in AROUND}
    assert path.stem in AROUND or not imported(path) & around


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_client_and_roles_take_nothing_from_the_sandbox(path: Path) -> None:
    if path.relative_to(PACKAGE).parts[0] in {"proxmox", "domain", "targets"}:
        assert not {name for name in imported(path) if below(name, "localai_deploy.sandbox")}


def test_nothing_heavy_is_loaded_and_the_start_is_quick() -> None:
    program = (
        "import time, sys; began = time.monotonic();"
        "from localai_deploy.sandbox.server import Sandbox, make_site, new_cluster;"
        "sandbox = Sandbox(make_site(new_cluster())); sandbox.start(); took = time.monotonic() - began;"
        f"print(took, [name for name in {HEAVY!r} if name in sys.modules]); sandbox.stop()"
    )
    out = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    seconds, _, loaded = out.strip().partition(" ")
    assert loaded == "[]"
    assert float(seconds) < 1.0
