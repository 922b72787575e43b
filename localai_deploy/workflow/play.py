"""What a play of plain Ansible needs to know of a host: roles to run, and their variables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.gateway import gateway_host
from localai_deploy.domain.plan import HOST_STEPS, ROLE_OF, TAGS, HostPlan
from localai_deploy.domain.settings import PREFIX, Sourced, resolve_settings, suggestion
from localai_deploy.domain.spec import Choices
from localai_deploy.errors import InputError, LocalaiError
from localai_deploy.inventory.gateway import with_gateway
from localai_deploy.inventory.specs import KNOWN_VARIABLES, InventoryHost, Secrets, unknown_variable
from localai_deploy.provisioner.variables import role_variables
from localai_deploy.targets.play_host import PlayHost, Runs
from localai_deploy.workflow.observe import PlannedHost, look_at, record_of, resolved
from localai_deploy.workflow.telling import Say

_HOST_STEPS = tuple(kind.value for kind in HOST_STEPS)
_TAGS = f"--tags takes {', '.join(TAGS)}, or steps: {', '.join(_HOST_STEPS)}"


@dataclass(frozen=True, slots=True)
class Groups:
    """What a gateway needs to know of the play's inventory.

    :param gateways: hosts of group ``gateway``.
    :param replicas: hosts of group ``inference``.
    :param variables_of: a host's variables as Ansible resolved them.
    """

    gateways: Sequence[str]
    replicas: Sequence[str]
    variables_of: Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class HostPlay:
    """One host's part of a play.

    :param roles: in the order in which they run.
    :param warnings: what the plan says that a person should know.
    """

    roles: tuple[str, ...]
    variables: Mapping[str, Any]
    warnings: tuple[str, ...]


def host_play(name: str, groups: Groups, runs: Runs, steps: frozenset[str], say: Say) -> HostPlay:
    """Look at a host through Ansible's connection and resolve its deployment, as ``plan`` does.

    :param steps: those that are wanted (:func:`steps_of`).
    :raises LocalaiError: the plan is blocked, or an input is wrong (exit 2).
    """
    host = _with_gateway(_host(name, groups.variables_of(name)), groups)
    target = PlayHost(name, runs)
    facts = look_at(target, say, None)
    devices = tuple((record_of(facts) or {}).get("devices", ()))
    choices = Choices(steps=steps)
    planned = PlannedHost(host, target, facts, None, HostPlan(name, ()), devices=devices)
    planned = resolved(planned, choices, say)
    if planned.plan.blockers:
        raise planned.plan.blockers[0].as_error()
    assert planned.deployment is not None, "what cannot be resolved blocks a plan"  # noqa: S101
    variables_of = role_variables(planned.deployment)
    kinds = {step.kind for step in planned.plan.steps}
    return HostPlay(
        tuple(role for kind, role in ROLE_OF.items() if kind in kinds and kind.value in steps),
        {key: value for key, value in variables_of.items() if not key.startswith(PREFIX)},
        tuple(finding.what for finding in planned.plan.warnings),
    )


def steps_of(tags: Sequence[str], skipped: Sequence[str]) -> frozenset[str]:
    """The steps that ``--tags`` and ``--skip-tags`` of ansible-playbook leave.

    :raises InputError: ``usage`` for a tag that stands for no step.
    """
    wanted = frozenset(_HOST_STEPS) if "all" in tags else _named(tags)
    return wanted - _named(skipped)


def _named(tags: Sequence[str]) -> frozenset[str]:
    for tag in tags:
        if tag not in TAGS and tag not in _HOST_STEPS:
            raise InputError(
                "usage", f"no part of a deployment has the tag {tag}", why=suggestion(tag, TAGS), hint=_TAGS
            )
    return frozenset(step for tag in tags for step in TAGS.get(tag, (tag,)))


def _host(name: str, variables: Mapping[str, Any]) -> InventoryHost:
    ours = _ours(name, variables)
    if variables.get("localai_node") and variables.get("ansible_host", name) == name:
        raise LocalaiError(
            "vm-not-an-entry",
            f"{name} is a VM that localai-deploy makes; a play goes to hosts that are there",
            hint=f"localai-deploy up {name} --write-inventory DIR makes it and an entry for Ansible",
        )
    settings = resolve_settings([ours])
    return InventoryHost(
        name, PlayHost.connection, settings, Secrets(hub_token=os.environ.get("HF_TOKEN", ""))
    )


def _ours(name: str, variables: Mapping[str, Any]) -> dict[str, Sourced]:
    ours = {key: Sourced(value, "inventory") for key, value in variables.items() if key.startswith(PREFIX)}
    for key in ours:
        if key not in KNOWN_VARIABLES:
            raise unknown_variable(key, f"variables of {name}")
    return ours


def _with_gateway(host: InventoryHost, groups: Groups) -> InventoryHost:
    """The same host with its gateway; only the gateway's host looks at the others' variables."""
    inventory = "the play's inventory"
    if not groups.gateways or host.name != gateway_host(groups.gateways, groups.replicas, inventory):
        return host
    replicas = {name: _ours(name, groups.variables_of(name)) for name in groups.replicas}
    (found,) = with_gateway([host], groups.gateways, replicas, inventory)
    return found
