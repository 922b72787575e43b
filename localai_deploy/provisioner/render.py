"""Write the Ansible project of a run: inventory dumped from data, thin playbooks from templates."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localai_deploy.domain.marks import WORK_MARK
from localai_deploy.domain.plan import ROLE_OF, StepKind
from localai_deploy.errors import InputError
from localai_deploy.resources import resource_dir
from localai_deploy.yaml_text import dump_yaml

GROUP = "inference"
GATEWAY_GROUP = "gateway"
DRIVER_PLAYBOOK = "driver.yml"
DRIVER_ACTIONS = {
    "upgrade": "Take the newest driver of its branch",
    "rollback": "Go back to the driver from before the upgrade",
    "key": "Make the key that modules are signed with",
}
"""Entry point of role ``nvidia_driver``, and tag of :data:`DRIVER_PLAYBOOK` → what it does."""
_MARK = ".localai-deploy-project"


@dataclass(frozen=True, slots=True)
class Project:
    """A rendered Ansible project."""

    directory: Path

    @property
    def inventory(self) -> Path:
        """The inventory directory."""
        return self.directory / "inventory"


@dataclass(frozen=True, slots=True)
class ProjectHost:
    """One host of a project.

    :param connection_variables: ``ansible_*`` variables, without secrets.
    :param variables: role variables, resolved.
    :param is_gateway: it is the host of group ``gateway``.
    """

    name: str
    connection_variables: Mapping[str, Any]
    variables: Mapping[str, Any]
    is_gateway: bool = False


def render_project(directory: Path, hosts: Sequence[ProjectHost]) -> Project:
    """Write the project into ``directory``, which is new, empty or an earlier project.

    :raises InputError: ``directory-not-ours`` when it holds something else.
    """
    _prepare_directory(directory)
    project = Project(directory)
    for name, text in rendered_files(hosts).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    roles = resource_dir("playbooks") / "roles"
    for role in _roles(hosts).values():
        shutil.copytree(roles / role, directory / "roles" / role)
    return project


def rendered_files(hosts: Sequence[ProjectHost]) -> dict[str, str]:
    """Relative path → content of all files but the roles."""
    roles = _roles(hosts)
    gateway = roles.pop(StepKind.GATEWAY, "")
    steps = [{"role": role, "kind": kind.value} for kind, role in roles.items()]
    values = {"group": GROUP, "work_mark": WORK_MARK, "gateway": gateway}
    actions = [{"name": name, "purpose": purpose} for name, purpose in DRIVER_ACTIONS.items()]
    return {
        "ansible.cfg": _from_template("ansible.cfg.j2", {}),
        "site.yml": _from_template("site.yml.j2", {**values, "steps": steps}),
        "reset.yml": _from_template("reset.yml.j2", {**values, "steps": steps[::-1]}),
        DRIVER_PLAYBOOK: _from_template("driver.yml.j2", {**values, "driver_actions": actions}),
        "inventory/hosts.yml": dump_yaml(_inventory(hosts)),
        **{f"inventory/host_vars/{host.name}.yml": dump_yaml(dict(host.variables)) for host in hosts},
    }


def _roles(hosts: Sequence[ProjectHost]) -> dict[StepKind, str]:
    """The roles of a project; that of the gateway only where there is one."""
    has_gateway = any(host.is_gateway for host in hosts)
    return {kind: role for kind, role in ROLE_OF.items() if has_gateway or kind is not StepKind.GATEWAY}


def _inventory(hosts: Sequence[ProjectHost]) -> dict[str, Any]:
    gateways = {host.name: dict[str, str]() for host in hosts if host.is_gateway}
    return {
        GROUP: {"hosts": {host.name: dict(host.connection_variables) for host in hosts}},
        **({GATEWAY_GROUP: {"hosts": gateways}} if gateways else {}),
    }


def _from_template(name: str, values: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(resource_dir("templates") / "project"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - YAML and INI, not HTML
    )
    return environment.get_template(name).render(values)


def _prepare_directory(directory: Path) -> None:
    if directory.exists() and (
        not directory.is_dir() or (any(directory.iterdir()) and not (directory / _MARK).exists())
    ):
        raise InputError(
            "directory-not-ours",
            f"{directory} is not empty and not a project of localai-deploy",
            hint="name a new directory",
        )
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _MARK).write_text("", encoding="utf-8")
    for stale in ("inventory", "roles"):
        shutil.rmtree(directory / stale, ignore_errors=True)
