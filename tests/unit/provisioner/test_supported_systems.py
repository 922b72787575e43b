"""What runs on hosts suits every supported system, and no role asks which one it is on."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from localai_deploy.domain.preflight import SUPPORTED_SYSTEMS

ROOT = Path(__file__).parents[3]
ROLES = ROOT / "playbooks" / "roles"
OLDEST_PYTHON = "3.10"
"""Ubuntu 22.04's; Debian 12 has 3.11, Ubuntu 24.04 3.12, Debian 13 3.13."""
PROGRAMS = sorted(
    [*ROLES.glob("*/files/*.py"), *(ROOT / "localai_deploy" / "verifier" / "probes").glob("*.py")]
)
CODENAMES = {("debian", "12"): "bookworm", ("debian", "13"): "trixie", ("ubuntu", "22.04"): "jammy"} | {
    ("ubuntu", "24.04"): "noble"
}
FACTS_OF_SYSTEMS = re.compile(r"ansible_(distribution|os_family|lsb|kernel)|ansible_facts")


def test_there_are_programs() -> None:
    assert len(PROGRAMS) > 10


def younger_than_the_oldest_python(*programs: Path) -> str:
    """What syntax or library of these programs the oldest Python lacks, as vermin tells."""
    command = [Path(sys.executable).with_name("vermin"), f"--target={OLDEST_PYTHON}-", "--violations"]
    words = [*map(str, command), "--no-tips", "--eval-annotations", *map(str, programs)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120)
    return done.stdout if done.returncode else ""


def test_every_program_suits_the_oldest_python() -> None:
    assert younger_than_the_oldest_python(*PROGRAMS) == ""


@pytest.mark.parametrize(
    "text",
    [
        "import hashlib\nhashlib.file_digest\n",
        "from datetime import UTC\n",
        "try: f()\nexcept* OSError: pass\n",
    ],
    ids=["member", "name", "syntax"],
)
def test_a_program_that_is_too_young(text: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(text)
    assert "3.11" in younger_than_the_oldest_python(tmp_path / "program.py")


@pytest.mark.parametrize("path", sorted(ROLES.glob("*/tasks/*.yml")), ids=lambda path: str(path.parts[-3:]))
def test_no_task_asks_for_the_system(path: Path) -> None:
    assert not FACTS_OF_SYSTEMS.search(path.read_text())


@pytest.mark.parametrize("role", sorted(path.name for path in ROLES.iterdir()))
def test_a_role_names_the_systems_that_the_plan_accepts(role: str) -> None:
    platforms = yaml.safe_load((ROLES / role / "meta" / "main.yml").read_text())["galaxy_info"]["platforms"]
    named = {version for platform in platforms for version in platform["versions"]}
    accepted = {CODENAMES[name, one] for name, versions in SUPPORTED_SYSTEMS.items() for one in versions}
    assert named == accepted or role == "vfio"
