"""``status``: what is ours on a host and how it is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import click

from localai_deploy.cli.failure import error_lines
from localai_deploy.cli.options import existing_hosts_from, host_options
from localai_deploy.cli.output import error_data, print_json
from localai_deploy.cli.progress import say
from localai_deploy.cli.run_options import forks_option
from localai_deploy.cli.terminal import note, show, width_of
from localai_deploy.domain.facts import HostFacts, ModelFact, UnitFact
from localai_deploy.domain.pve.facts import VmFacts
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import ExitCode
from localai_deploy.workflow import deploy as workflow
from localai_deploy.workflow.apply import journal_of
from localai_deploy.workflow.observe import Seen, look_at_state, record_of
from localai_deploy.workflow.together import Answer, ask_each

_STATE_COLOR = {"running": "green", "absent": None, "stopped": "red", "incomplete": "yellow"}


@click.command(epilog="Example: localai-deploy status admin@192.0.2.10 -o json")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@host_options
@forks_option
def status(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Look at HOST; nothing is changed. Exit 1 when a deployment is there but not as it should be."""
    wanted = existing_hosts_from(hosts, options)
    with ExitStack() as stack:
        targets = workflow.open_targets(wanted, stack, say)
        answers = ask_each(wanted, lambda host: look_at_state(host, targets[host.name]), options["forks"])
    found = [_host_data(one) for one in answers]
    if not wanted:
        note(f"no VM of ours is on node {options['node']}")
    if options["output"] == "json":
        print_json("status", hosts=found)
    else:
        for one, data in zip(answers, found, strict=True):
            for line in error_lines(one.error, width_of(sys.stdout)) if one.error else _lines(data):
                show(line)
    return _exit_code(answers, found)


def _exit_code(answers: list[Answer[Seen]], found: list[dict[str, Any]]) -> int:
    errors = [one.error for one in answers if one.error]
    if errors and len(errors) == len(answers):
        return int(errors[0].exit_code)
    if errors:
        return int(ExitCode.PARTIAL)
    return int(ExitCode.DONE if all(map(_is_well, found)) else ExitCode.FAILED)


def _is_well(one: dict[str, Any]) -> bool:
    if one["state"] == "absent":
        return True
    gateway_is_well = one.get("gateway", {"active_state": "active"})["active_state"] == "active"
    return one["state"] == "running" and one.get("deployment") is not None and gateway_is_well


def _host_data(answer: Answer[Seen]) -> dict[str, Any]:
    name, seen = answer.host.name, answer.value
    if seen is None:
        return {"host": name, "error": error_data(answer.error) if answer.error else None}
    machine = {"vm": _vm_data(seen.vm)} if seen.vm or answer.host.vm else {}
    if seen.facts is None:
        return {"host": name, "state": "stopped" if seen.vm else "absent", **machine}
    return _deployed_data(name, seen.facts) | machine


def _gateway_data(unit: UnitFact | None) -> dict[str, Any]:
    if unit is None:
        return {}
    return {"gateway": {"active_state": unit.active_state, "sub_state": unit.sub_state}}


def _vm_data(vm: VmFacts | None) -> dict[str, Any] | None:
    if vm is None:
        return None
    return {
        "node": vm.node,
        "vmid": vm.vmid,
        "status": vm.status,
        "address": vm.address,
        "disk_bytes": sum(vm.disks.values()),
        "seed": vm.seed,
    }


def _deployed_data(name: str, facts: HostFacts) -> dict[str, Any]:
    unfinished = journal_of(name).unfinished()
    return {
        "host": name,
        "state": _state(facts),
        "system": facts.os_pretty_name,
        "unit": {
            "active_state": facts.unit.active_state,
            "sub_state": facts.unit.sub_state,
            "restarts": facts.unit.n_restarts,
            "executable": facts.unit.exec_path,
        },
        "deployment": record_of(facts),
        "models": [_model_data(model) for model in facts.models],
        "packages": len(facts.installed_packages),
        "unfinished_step": unfinished.kind.value if unfinished else None,
        **_gateway_data(facts.gateway),
    }


def _model_data(model: ModelFact) -> dict[str, Any]:
    return {
        "file_name": model.file_name,
        "size_bytes": model.size_bytes,
        "sha256": model.sha256,
        "partial_bytes": model.partial_bytes,
    }


def _state(facts: HostFacts) -> str:
    """``absent``, ``running``, ``stopped`` (all is there but does not run) or ``incomplete``."""
    if facts.deployment is None:
        return "absent"
    if facts.unit.running:
        return "running"
    whole = facts.runtime is not None and facts.unit.load_state == "loaded"
    return "stopped" if whole else "incomplete"


def _lines(one: dict[str, Any]) -> Iterator[str]:
    state = click.style(one["state"], fg=_STATE_COLOR[one["state"]])
    system = f"  ({one['system']})" if "system" in one else ""
    yield f"{click.style(one['host'], bold=True)}: {state}{system}"
    if one.get("vm"):
        yield f"  vm        {_vm_text(one['vm'])}"
    if "unit" in one:
        yield from _deployed_lines(one)


def _vm_text(vm: dict[str, Any]) -> str:
    at = f" at {vm['address']}" if vm["address"] else ""
    disks = format_bytes(vm["disk_bytes"])
    seed = f"; the first boot's {vm['seed']} is still attached" if vm["seed"] else ""
    return f"{vm['vmid']} on {vm['node']}, {vm['status']}{at}, disks of {disks}{seed}"


def _deployed_lines(one: dict[str, Any]) -> Iterator[str]:
    unit, record = one["unit"], one["deployment"]
    if one["state"] != "absent":
        yield f"  unit      {unit['active_state']} ({unit['sub_state']}), {unit['restarts']} restarts"
    if record:
        service = record.get("service", {})
        yield f"  endpoint  http://{service.get('bind')}:{service.get('port')}/v1 (on the host itself)"
        yield f"  runtime   {record.get('package')}, {one['packages']} packages"
    if "gateway" in one:
        yield f"  gateway   {_gateway_text(one['gateway'], (record or {}).get('gateway') or {})}"
    for model in one["models"]:
        yield f"  model     {_model_text(model, record or {})}"
    if advice := _advice(one):
        yield click.style(f"  ! {advice}", fg="yellow")


def _gateway_text(unit: dict[str, Any], record: dict[str, Any]) -> str:
    replicas = ", ".join(one["name"] for one in record.get("replicas", []))
    state = f"{unit['active_state']} ({unit['sub_state']})"
    return f"{state}, http://{record.get('bind')}:{record.get('port')}/v1 for {replicas}" if record else state


def _model_text(model: dict[str, Any], record: dict[str, Any]) -> str:
    size = format_bytes(model["size_bytes"] or model["partial_bytes"])
    served = [entry.get("file_name") for entry in record.get("models", [])][:1]
    note = f"sha256 {model['sha256'][:12]}" if model["sha256"] else "without a record"
    note = note if model["size_bytes"] else "unfinished download"
    return f"{model['file_name']} ({size}, {note}{', served' if model['file_name'] in served else ''})"


def _advice(one: dict[str, Any]) -> str:
    if one["state"] != "absent" and one["deployment"] is None:
        return "the host's record of the deployment cannot be read (explain record-unreadable)"
    if one["unfinished_step"]:
        return f"the last run was cut off in step {one['unfinished_step']}; run up (or down) again"
    if one["state"] == "stopped":
        unit = one["deployment"].get("service", {}).get("name", "localai-*")
        return f"the service does not run (why: journalctl -u {unit} on the host); up starts it again"
    return "not everything is there; run up (or down) again" if one["state"] == "incomplete" else ""
