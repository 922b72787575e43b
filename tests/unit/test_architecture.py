"""The directions of imports and who may import what, read from the source itself."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "localai_deploy"
FILES = sorted(PACKAGE.rglob("*.py"))
LAYERS = {
    "errors": 0,
    "explanations": 0,
    "domain": 1,
    "runtimes": 2,
    "hub": 2,
    "directory_lock": 2,
    "resources": 2,
    "scratch": 2,
    "yaml_text": 2,
    "proxmox": 2,
    "sandbox_record": 2,
    "targets": 3,
    "provisioner": 3,
    "sandbox": 3,
    "verifier": 3,
    "inventory": 3,
    "workflow": 4,
    "cli": 5,
}
ONLY_IN = {
    "click": {"cli"},
    "rich": {"cli"},
    "ansible_runner": {"provisioner/run.py"},
    "huggingface_hub": {"hub"},
    "rattler": {"runtimes/solver.py"},
    "ansible": {"inventory/reader.py"},
    "proxmoxer": {"proxmox"},
    "requests": {"proxmox"},
    "urllib3": {"proxmox"},
    "jinja2": {"provisioner/render.py"},
    "pycdlib": {"targets/seed_iso.py"},
}
SHIPPED_CHECKS = PACKAGE / "verifier" / "checks"


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def layer_of(module: str) -> int | None:
    parts = module.split(".")
    if parts[0] != "localai_deploy" or len(parts) == 1:
        return None
    return LAYERS[parts[1]]


def own_part(path: Path) -> str:
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    part = own_part(path)
    if part == "__init__":
        assert not {module for module in imports(path) if module.startswith("localai_deploy")}
        return
    for module in imports(path):
        layer = layer_of(module)
        same_part = module.split(".")[1:2] == [part]
        if layer is not None and not same_part:
            assert layer < LAYERS[part], f"{path} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_have_one_importer(path: Path) -> None:
    place = str(path.relative_to(PACKAGE))
    for module in imports(path):
        allowed = ONLY_IN.get(module.split(".")[0])
        if allowed is not None:
            assert place in allowed or place.split("/", maxsplit=1)[0] in allowed, f"{place} imports {module}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "domain").rglob("*.py")), ids=lambda path: path.name)
def test_domain_is_pure(path: Path) -> None:
    forbidden = {"os", "subprocess", "socket", "urllib.request", "http", "shutil", "tempfile", "pathlib.Path"}
    for module in imports(path):
        top = module.split(".")[0]
        assert top == "localai_deploy" or top in sys.stdlib_module_names, f"{path}: {module}"
        assert module not in forbidden, f"{path}: {module} does I/O"


def test_no_import_cycle() -> None:
    graph = {
        f"localai_deploy.{'.'.join(path.relative_to(PACKAGE).with_suffix('').parts)}".removesuffix(
            ".__init__"
        ): {module for module in top_level_imports(path) if module.startswith("localai_deploy")}
        for path in FILES
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module in done or module not in graph:
            return
        for other in graph[module]:
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def top_level_imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 300, f"{path} is long"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name} is long"
