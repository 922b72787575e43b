"""The wheel carries what it needs: built, installed into a clean environment, and rendered from."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RENDER = """
import sys
from pathlib import Path
from localai_deploy.provisioner.render import ProjectHost, render_project
project = render_project(Path(sys.argv[1]), [ProjectHost("box", {}, {"service_port": 8080})])
print(sorted(path.name for path in (project.directory / "roles").iterdir()))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    assert len(list(out.glob("*.tar.gz"))) == 1
    return next(out.glob("*.whl"))


def test_wheel_holds_playbooks_and_templates(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "localai_deploy/playbooks/roles/service/tasks/main.yml" in names
    assert "localai_deploy/templates/project/site.yml.j2" in names
    assert "localai_deploy/cli/schemas/plan.v1.json" in names
    assert not [name for name in names if name.startswith("tests/") or ".lab" in name or ".venv" in name]


def test_sdist_holds_no_environment(wheel: Path) -> None:
    import tarfile

    names = tarfile.open(next(wheel.parent.glob("*.tar.gz"))).getnames()
    assert not [name for name in names if "/.venv" in name or "/.lab" in name or "__pycache__" in name]


def test_clean_environment_renders_and_starts(wheel: Path, tmp_path: Path) -> None:
    """Dependencies come from the environment that runs the tests; the package only from the wheel."""
    environment = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True
    )
    site_packages = next(environment.glob("lib/python*/site-packages"))
    ours = Path(next(p for p in sys.path if p.endswith("site-packages")))
    (site_packages / "dependencies.pth").write_text(f"{ours}\n")
    done = subprocess.run(
        [python, "-c", RENDER, str(tmp_path / "project")],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.stdout.strip() == "['base', 'conda', 'llama_cpp', 'model_store', 'nvidia_driver', 'service']"
    located = subprocess.run(
        [python, "-c", "import localai_deploy; print(localai_deploy.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert str(site_packages) in located.stdout
    shown = subprocess.run(
        [environment / "bin" / "localai-deploy", "--version"], check=True, capture_output=True, text=True
    )
    assert shown.stdout.startswith("localai-deploy, version 0.")
