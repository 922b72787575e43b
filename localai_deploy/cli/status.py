"""``status``: what is ours on a host and how it is."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import click

from localai_deploy.cli.options import host_options, hosts_from
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import ExitCode
from localai_deploy.workflow import deploy as workflow
from localai_deploy.workflow.apply import journal_of
from localai_deploy.workflow.observe import record_of


@click.command(epilog="Example: localai-deploy status admin@192.0.2.10 -o json")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@host_options
def status(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Look at HOST; nothing is changed. Exit 1 when a deployment is there but does not run."""
    wanted = hosts_from(hosts, options)
    with ExitStack() as stack:
        targets = workflow.open_targets(wanted, stack)
        found = [_host_data(host.name, targets[host.name].observe()) for host in wanted]
    if options["output"] == "json":
        click.echo(json.dumps({"schema": "localai-deploy/status/v1", "hosts": found}, indent=2))
    else:
        for one in found:
            _print(one)
    healthy = all(one["state"] in {"running", "absent"} for one in found)
    return int(ExitCode.DONE if healthy else ExitCode.FAILED)


def _host_data(name: str, facts: HostFacts) -> dict[str, Any]:
    record = record_of(facts)
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
        "deployment": record,
        "models": [
            {
                "file_name": m.file_name,
                "size_bytes": m.size_bytes,
                "sha256": m.sha256,
                "partial_bytes": m.partial_bytes,
            }
            for m in facts.models
        ],
        "packages": len(facts.installed_packages),
        "unfinished_step": unfinished.kind.value if unfinished else None,
    }


def _state(facts: HostFacts) -> str:
    if facts.deployment is None:
        return "absent"
    return "running" if facts.unit.running else "incomplete"


def _print(one: dict[str, Any]) -> None:
    click.echo(f"{click.style(one['host'], bold=True)}: {one['state']}  ({one['system']})")
    if one["state"] == "absent":
        return
    unit, record = one["unit"], one["deployment"] or {}
    click.echo(f"  unit      {unit['active_state']} ({unit['sub_state']}), {unit['restarts']} restarts")
    if record:
        service = record.get("service", {})
        click.echo(f"  endpoint  http://{service.get('bind')}:{service.get('port')}/v1 (on the host itself)")
        click.echo(f"  runtime   {record.get('package')}, {one['packages']} packages")
    for model in one["models"]:
        size = format_bytes(model["size_bytes"] or model["partial_bytes"])
        note = f"sha256 {model['sha256'][:12]}" if model["sha256"] else "unfinished download"
        click.echo(f"  model     {model['file_name']} ({size}, {note})")
    if one["unfinished_step"]:
        click.echo(f"  ! the last run was cut off in step {one['unfinished_step']}; run up (or down) again")
