"""The Ansible project that prepares a node: one playbook with its role, for one host."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localai_deploy.provisioner.render import Project
from localai_deploy.resources import resource_dir
from localai_deploy.yaml_text import dump_yaml

PLAYBOOK = "node.yml"
GROUP = "proxmox_nodes"


def render_node_project(directory: Path, node: str, variables: Mapping[str, Any]) -> Project:
    """Write the project into a new directory.

    :param variables: how the node is reached, and the role's.
    """
    playbooks = resource_dir("playbooks")
    inventory = directory / "inventory"
    inventory.mkdir(parents=True)
    shutil.copy(playbooks / PLAYBOOK, directory / PLAYBOOK)
    shutil.copytree(playbooks / "roles" / "vfio", directory / "roles" / "vfio")
    shutil.copy(resource_dir("templates") / "project" / "ansible.cfg.j2", directory / "ansible.cfg")
    (inventory / "hosts.yml").write_text(
        dump_yaml({GROUP: {"hosts": {node: dict(variables)}}}), encoding="utf-8"
    )
    return Project(directory)
