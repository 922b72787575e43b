from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from localai_deploy.errors import InputError
from localai_deploy.provisioner.render import ProjectHost, render_project, rendered_files

HOST = ProjectHost("box", {"ansible_host": "192.0.2.1"}, {"service_port": 8080, "text": "{{ trap }}"})


def test_project_has_all_parts(tmp_path: Path) -> None:
    project = render_project(tmp_path / "p", [HOST])
    for name in (
        "ansible.cfg",
        "site.yml",
        "reset.yml",
        "inventory/hosts.yml",
        "inventory/host_vars/box.yml",
    ):
        assert (project.directory / name).is_file()
    assert (project.directory / "roles" / "service" / "tasks" / "main.yml").is_file()


def test_rendering_again_replaces(tmp_path: Path) -> None:
    render_project(tmp_path / "p", [HOST])
    project = render_project(tmp_path / "p", [ProjectHost("den", {}, {})])
    assert [path.name for path in (project.inventory / "host_vars").iterdir()] == ["den.yml"]


def test_foreign_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError) as caught:
        render_project(tmp_path, [HOST])
    assert caught.value.error_id == "directory-not-ours"
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_data_is_never_a_template() -> None:
    text = rendered_files([HOST])["inventory/host_vars/box.yml"]
    assert "!unsafe '{{ trap }}'" in text


def test_reset_runs_the_roles_backwards() -> None:
    files = rendered_files([HOST])
    site = [role["role"] for role in yaml.safe_load(files["site.yml"])[0]["roles"]]
    assert site == ["base", "nvidia_driver", "conda", "llama_cpp", "model_store", "service"]
    reset = [
        task["ansible.builtin.import_role"]["name"] for task in yaml.safe_load(files["reset.yml"])[0]["tasks"]
    ]
    assert reset == site[::-1]
