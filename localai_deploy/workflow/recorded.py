"""Bring a deployment back from what its host records: no local file and no flag is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from localai_deploy.domain.deployment import Deployment, is_our_record
from localai_deploy.domain.facts import CorruptRecord, HostFacts
from localai_deploy.domain.fit.wish import UBATCH
from localai_deploy.domain.gateway import Gateway
from localai_deploy.domain.gpu.host_driver import HostDriver, driver_of
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.planning import make_plan
from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.spec import Choices, HostSpec
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.runtimes import deployment_of
from localai_deploy.targets.base import Target
from localai_deploy.targets.proxmox_vm import vm_missing
from localai_deploy.workflow.observe import PlannedHost, look_at, plan_host, record_of, resolved, survey
from localai_deploy.workflow.telling import Say
from localai_deploy.workflow.together import Answer, ask_each


def recorded_hosts(
    hosts: Sequence[InventoryHost], targets: Mapping[str, Target], say: Say, forks: int
) -> list[Answer[PlannedHost]]:
    """Hosts with the deployment to hold them against (see :func:`recorded_host`)."""
    return ask_each(hosts, lambda host: recorded_host(host, targets[host.name], say), forks)


def recorded_host(host: InventoryHost, target: Target, say: Say) -> PlannedHost:
    """One host with the deployment to hold it against.

    An inventory that names models says what is wanted; else the host's own record does.

    :raises LocalaiError: ``not-deployed``, ``record-unreadable`` or ``vm-missing``.
    """
    if host.settings["localai_models"].value:
        return _wanted_host(host, target, say)
    _require_there(survey(host, target, say))
    facts = look_at(target, say, None)
    deployment = recorded_deployment(host, facts)
    return PlannedHost(host, target, facts, deployment, make_plan(deployment.spec, facts, deployment))


def _require_there(seen: VmPlan | None) -> None:
    """A VM must have been made; a host that was there before us need not."""
    if seen is not None and seen.vm is None:
        raise vm_missing(seen.node.node, seen.spec.name)


def _wanted_host(host: InventoryHost, target: Target, say: Say) -> PlannedHost:
    """The host as the inventory wants it; of a VM that waits for a restart the guest is looked at too."""
    planned = plan_host(host, target, Choices(), say)
    _require_there(planned.vm)
    if not planned.is_up:
        planned = resolved(replace(planned, facts=look_at(target, say, None)), Choices(), say)
    record = record_of(planned.facts)
    if record is None:
        raise _not_deployed(host.name)
    if planned.deployment is None:
        blocker = planned.plan.blockers[0]
        raise LocalaiError(blocker.finding_id, blocker.what, why=blocker.why, hint=blocker.hint)
    return planned


def recorded_deployment(host: InventoryHost, facts: HostFacts) -> Deployment:
    """The deployment that the host's record and lock describe.

    :raises LocalaiError: ``not-deployed`` or ``record-unreadable``.
    """
    record = record_of(facts)
    if facts.deployment is None:
        raise _not_deployed(host.name)
    if record is None or not is_our_record(record) or isinstance(facts.lock, CorruptRecord):
        raise _unreadable(host.name, "it is no record of this version")
    if facts.lock is None:
        raise LocalaiError(
            "not-deployed",
            f"the deployment on {host.name} is unfinished",
            why="its environment's lock is not there yet",
            hint="run up again; it goes on from here",
        )
    try:
        lock = EnvironmentLock.from_data(facts.lock)
        spec = _with_driver(_spec(host, record), facts)
        return deployment_of(spec, lock, tuple(_model(entry, facts) for entry in record["models"]))
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(host.name, f"{error!r}") from error


def _spec(host: InventoryHost, record: Mapping[str, Any]) -> HostSpec:
    return HostSpec(
        name=record["name"],
        connection=host.connection,
        models=tuple(entry["reference"] for entry in record["models"]),
        runtime=record["runtime"],
        variant=record["variant"],
        context_length=record["context_length"],
        parallel=record["parallel"],
        gpu_layers=record["gpu_layers"],
        cpu_expert_layers=record.get("cpu_expert_layers", 0),
        gpu_memory_bytes=record.get("gpu_memory_bytes", 0),
        cache_type_k=record.get("cache_type_k", "f16"),
        cache_type_v=record.get("cache_type_v", "f16"),
        flash_attention=record.get("flash_attention") != "off",
        ubatch=record.get("ubatch", UBATCH),
        bind=record["service"]["bind"],
        port=record["service"]["port"],
        conda_provider=record["conda_provider"],
        conda_channel=record["conda_channel"],
        devices=tuple(record.get("devices", ())),
        clients=tuple(record["service"].get("clients", ())),
        gateway=Gateway.from_record(record["gateway"]) if "gateway" in record else None,
        driver_source=host.settings["localai_driver"].value,
    )


def _with_driver(spec: HostSpec, facts: HostFacts) -> HostSpec:
    """The driver is not in the record: it follows from the cards and what the host has; the build stays."""
    found = driver_of(spec.name, facts, spec.devices, spec.driver_source)
    return replace(spec, driver=found) if isinstance(found, HostDriver) else spec


def _model(entry: Mapping[str, Any], facts: HostFacts) -> ModelFile:
    fact = facts.model(entry["file_name"])
    return ModelFile(
        reference=entry["reference"],
        file_name=entry["file_name"],
        sha256=entry["sha256"] or (fact.sha256 if fact else ""),
        size_bytes=entry["size_bytes"],
        revision=entry["revision"],
        trust_first_download=not entry["sha256"],
    )


def _not_deployed(name: str) -> LocalaiError:
    return LocalaiError(
        "not-deployed", f"nothing of ours is on {name}", hint=f"localai-deploy up {name} --model …"
    )


def _unreadable(name: str, why: str) -> LocalaiError:
    return LocalaiError(
        "record-unreadable",
        f"the deployment record on {name} cannot be read",
        why=why,
        hint="run up again: it writes the record anew",
    )
