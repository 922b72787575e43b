"""``down``: take away what was installed."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import click

from localai_deploy.cli.failure import error_data, error_lines
from localai_deploy.cli.options import confirm, host_options, hosts_from, yes_option
from localai_deploy.cli.plan_text import plan_lines
from localai_deploy.cli.progress import StepProgress
from localai_deploy.errors import ExitCode
from localai_deploy.workflow import deploy as workflow


@click.command(epilog="Example: localai-deploy down admin@192.0.2.10 --purge --yes")
@click.argument("hosts", nargs=-1, required=True, metavar="HOST...")
@host_options
@yes_option
@click.option("--purge", is_flag=True, help="Delete the models too.")
@click.option("-v", "--verbose", is_flag=True, help="Show every task.")
def down(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Remove service, environment, packages and user that came with us. Models stay unless --purge."""
    wanted = hosts_from(hosts, options)
    as_json = options["output"] == "json"
    with ExitStack() as stack:
        targets = workflow.open_targets(wanted, stack)
        for target in targets.values():
            target.connect()
            stack.enter_context(target.hold())
        removals = [
            workflow.plan_removal(host, targets[host.name], purge=options["purge"]) for host in wanted
        ]
        if not as_json:
            for removal in removals:
                for line in plan_lines(removal.plan, removal.facts):
                    click.echo(line, err=True)
        removals = [removal for removal in removals if removal.plan.steps]
        if removals and not confirm("Remove this?", yes=options["yes"]):
            raise click.Abort
        with StepProgress(verbose=options["verbose"]) as progress:
            outcomes = dict(workflow.remove(removals, progress)) if removals else {}
    errors = {name: outcome.error for name, outcome in outcomes.items() if outcome.error}
    if as_json:
        found = [
            {"host": host.name, "removed": host.name in outcomes and host.name not in errors}
            | ({"error": error_data(errors[host.name])} if host.name in errors else {})
            for host in wanted
        ]
        click.echo(json.dumps({"schema": "localai-deploy/down/v1", "hosts": found}, indent=2))
    else:
        for host in wanted:
            if host.name in errors:
                click.echo("\n".join(error_lines(errors[host.name])), err=True)
            else:
                click.echo(f"{host.name}: {'gone' if host.name in outcomes else 'nothing of ours was there'}")
    return int(ExitCode.PARTIAL if errors else ExitCode.DONE)
