"""``plan``: what ``up`` would do and why."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any

import click

from localai_deploy.cli.options import deployment_options, host_options, hosts_from
from localai_deploy.cli.plan_view import blocked_error, notice_unfinished, plans_data, print_plans
from localai_deploy.cli.progress import say
from localai_deploy.domain.spec import Choices
from localai_deploy.errors import ExitCode
from localai_deploy.workflow import deploy as workflow


@click.command(epilog="Example: localai-deploy plan admin@192.0.2.10 --model hf:ORG/REPO/FILE.gguf -o json")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@deployment_options
@host_options
@click.option("--detailed-exitcode", is_flag=True, help="Exit 0: nothing to do, 10: changes.")
def plan(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Show what `up` would do to HOST; nothing is changed. A blocked plan exits with 3."""
    wanted = hosts_from(hosts, options)
    with ExitStack() as stack:
        targets = workflow.open_targets(wanted, stack)
        looked = workflow.look(wanted, targets, Choices(update=options["update"]), say)
    if options["output"] == "json":
        click.echo(json.dumps({"schema": "localai-deploy/plan/v1", "hosts": plans_data(looked)}, indent=2))
    else:
        print_plans(looked)
    planned = [one.planned for one in looked if one.planned]
    notice_unfinished(planned)
    if any(one.error for one in looked) or any(one.plan.blockers for one in planned):
        return int(blocked_error(looked).exit_code)
    if options["detailed_exitcode"] and any(one.plan.changes_host for one in planned):
        return int(ExitCode.CHANGES)
    return int(ExitCode.DONE)
