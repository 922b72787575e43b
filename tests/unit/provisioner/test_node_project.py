"""The project that prepares a node: whole, and each tag runs its own half only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from localai_deploy.provisioner.node_project import PLAYBOOK, render_node_project

VARIABLES = {"ansible_host": "192.0.2.5", "vfio_devices": [{"address": "0000:01:00.0", "id": "10de:2684"}]}


def tasks(directory: Path, *options: str) -> list[str]:
    program = Path(sys.executable).with_name("ansible-playbook")
    done = subprocess.run(
        [str(program), "-i", "inventory", PLAYBOOK, "--list-tasks", *options],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.partition("TAGS")[0].strip() for line in done.stdout.splitlines())
    return [line for line in lines if " : " in line]


@pytest.mark.parametrize("options", [(), ("--tags", "prepare"), ("--tags", "rollback")])
def test_each_tag_runs_its_half(options: tuple[str, ...], tmp_path: Path) -> None:
    project = render_node_project(tmp_path / "project", "pve1", VARIABLES)
    found = tasks(project.directory, *options)
    takes_back = "rollback" in options
    assert ("vfio : Remove our files" in found) is takes_back
    assert ("vfio : Make the directory of what was there before" in found) is not takes_back


def test_the_inventory_is_plain_data(tmp_path: Path) -> None:
    project = render_node_project(tmp_path / "project", "pve1", VARIABLES)
    hosts = yaml.safe_load((project.inventory / "hosts.yml").read_text())
    assert hosts == {"proxmox_nodes": {"hosts": {"pve1": VARIABLES}}}
    assert sorted(path.name for path in (project.directory / "roles").iterdir()) == ["vfio"]
