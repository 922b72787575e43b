"""What runs on hosts suits every supported system, and no role asks which one it is on."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from localai_deploy.domain.preflight import SUPPORTED_SYSTEMS

ROOT = Path(__file__).parents[3]
ROLES = ROOT / "playbooks" / "roles"
OLDEST_PYTHON = (3, 10)
"""Ubuntu 22.04's; Debian 12 has 3.11, Ubuntu 24.04 3.12, Debian 13 3.13."""
YOUNGER = {
    *("file_digest", "StrEnum", "tomllib", "assert_never", "ExceptionGroup", "BaseExceptionGroup"),
    *("add_note", "TaskGroup", "batched", "LiteralString", "Self", "chdir", "UTC", "walk"),
}
"""Names that Python 3.11 and later brought (``walk``: of paths)."""
PROGRAMS = sorted(
    [*ROLES.glob("*/files/*.py"), *(ROOT / "localai_deploy" / "verifier" / "probes").glob("*.py")]
)
CODENAMES = {("debian", "12"): "bookworm", ("debian", "13"): "trixie", ("ubuntu", "22.04"): "jammy"} | {
    ("ubuntu", "24.04"): "noble"
}
FACTS_OF_SYSTEMS = re.compile(r"ansible_(distribution|os_family|lsb|kernel)|ansible_facts")


def test_there_are_programs() -> None:
    assert len(PROGRAMS) > 10


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_a_program_suits_the_oldest_python(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=OLDEST_PYTHON)
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute | ast.ImportFrom | ast.Import))
    used = {name for node in nodes for name in names_of(node)}
    assert used & YOUNGER == set()


def names_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Attribute):
        is_os = isinstance(node.value, ast.Name) and node.value.id in {"os", "ast"}
        return [] if is_os else [node.attr]
    return [alias.name for alias in getattr(node, "names", [])]


@pytest.mark.parametrize("path", sorted(ROLES.glob("*/tasks/*.yml")), ids=lambda path: str(path.parts[-3:]))
def test_no_task_asks_for_the_system(path: Path) -> None:
    assert not FACTS_OF_SYSTEMS.search(path.read_text())


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_a_role_names_the_systems_that_the_plan_accepts(role: str) -> None:
    platforms = yaml.safe_load((ROLES / role / "meta" / "main.yml").read_text())["galaxy_info"]["platforms"]
    named = {version for platform in platforms for version in platform["versions"]}
    accepted = {CODENAMES[name, one] for name, versions in SUPPORTED_SYSTEMS.items() for one in versions}
    assert named == accepted or role == "vfio"
