"""``up``: plan, confirm, configure, verify, report."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import click

from localai_deploy.cli.options import confirm, deployment_options, host_options, hosts_from, yes_option
from localai_deploy.cli.plan_view import blocked_error, notice_unfinished, print_plans
from localai_deploy.cli.progress import StepProgress, say, show_check
from localai_deploy.cli.report_view import print_report
from localai_deploy.domain.spec import Choices
from localai_deploy.workflow import deploy as workflow


@click.command(
    epilog="Example: localai-deploy up admin@192.0.2.10 --model hf:ORG/REPO/FILE.gguf --context 8192"
)
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@deployment_options
@host_options
@yes_option
@click.option("--dry-run", is_flag=True, help="Stop after the plan, as `plan` does.")
@click.option("-v", "--verbose", is_flag=True, help="Show every task.")
@click.pass_context
def up(ctx: click.Context, /, hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Make HOST serve a model and prove that it does; a second run converges."""
    if options["dry_run"]:
        from localai_deploy.cli.plan import plan

        names = {"detailed_exitcode": False} | {
            p.name: options[p.name] for p in plan.params if p.name in options
        }
        return int(ctx.invoke(plan, hosts=hosts, **names))
    wanted = hosts_from(hosts, options)
    as_json = options["output"] == "json"
    with ExitStack() as stack:
        targets = workflow.open_targets(wanted, stack)
        looked = workflow.look(wanted, targets, Choices(update=options["update"]), say, lock=stack)
        if not as_json:
            print_plans(looked, err=True)
        ready = [one.planned for one in looked if one.planned and not one.planned.plan.blockers]
        if not ready:
            raise blocked_error(looked)
        notice_unfinished(ready)
        needs_consent = any(one.plan.changes_host for one in ready)
        if needs_consent and not confirm("Apply this plan?", yes=options["yes"]):
            raise click.Abort
        with StepProgress(verbose=options["verbose"]) as progress:
            result = workflow.deploy(ready, progress, show_check)
        return print_report(looked, result, as_json=as_json)
