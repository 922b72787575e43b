"""``up``: plan, confirm, configure, verify, report."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localai_deploy.cli.check_view import CheckLines
from localai_deploy.cli.host_table import WAITS, HostTable, checked, not_begun, table_of, tell_end
from localai_deploy.cli.options import (
    deployment_options,
    host_options,
    hosts_from,
    require_consent,
    verbose_option,
    vm_options,
    yes_option,
)
from localai_deploy.cli.plan_view import choices_of, notice_unfinished, print_plans, run_plan
from localai_deploy.cli.progress import RunProgress, say
from localai_deploy.cli.report_view import print_report
from localai_deploy.cli.run_options import forks_option, tags_option
from localai_deploy.cli.terminal import note, width_of
from localai_deploy.workflow import deploy as workflow
from localai_deploy.workflow.observe import PlannedHost
from localai_deploy.workflow.provision import Rest

if TYPE_CHECKING:
    from localai_deploy.inventory.specs import InventoryHost
    from localai_deploy.workflow.entries import Entries


@click.command(
    epilog="Example: localai-deploy up admin@192.0.2.10 --model hf:ORG/REPO/FILE.gguf --context 8192"
)
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@deployment_options
@vm_options
@host_options
@forks_option
@tags_option
@yes_option
@click.option(
    "--write-inventory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Make the VM an entry of this Ansible inventory when it is up; a new one is begun.",
)
@click.option("--dry-run", is_flag=True, help="Stop after the plan, as `plan` does.")
@verbose_option
def up(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Make HOST serve a model and prove that it does; a second run converges."""
    wanted = hosts_from(hosts, options)
    entries = _entries(wanted, options)
    if options["dry_run"]:
        return run_plan(wanted, options)
    with ExitStack() as stack:
        targets = workflow.open_targets(wanted, stack, say)
        looked = workflow.look(wanted, targets, choices_of(options), say, lock=stack)
        print_plans(looked, err=True)
        ready = [one.planned for one in looked if one.planned and not one.planned.plan.blockers]
        notice_unfinished(ready)
        if any(one.plan.changes_host for one in ready):
            require_consent("Apply this plan?", yes=options["yes"])
        rest = Rest(choices_of(options), say, stack)
        table = table_of({one.host.name: _state(one) for one in looked})
        result = _deploy(ready, rest, table, verbose=options["verbose"])
    if entries:
        result = _enter(entries, ready, result)
    if result.outcomes:
        tell_end(table, _ended(result))
    return print_report(looked, result, as_json=options["output"] == "json")


def _state(looked: workflow.Looked) -> str:
    """How a host stands before the run."""
    if looked.error:
        return not_begun(looked.error)
    blockers = looked.planned.plan.blockers if looked.planned else ()
    return f"blocked: {blockers[0].finding_id}" if blockers else WAITS


def _ended(result: workflow.DeployResult) -> dict[str, str]:
    """How the run ended on each host that it began on."""
    return {
        host: outcome.error.error_id if outcome.error else checked(result.report, host)
        for host, outcome in result.outcomes.items()
    }


def _deploy(
    ready: list[PlannedHost], rest: Rest, table: HostTable | None, *, verbose: bool
) -> workflow.DeployResult:
    if not ready:
        return workflow.DeployResult({}, None)
    lines = CheckLines([one.host.name for one in ready], width_of(sys.stderr))
    with RunProgress(table, verbose=verbose) as progress:
        return workflow.deploy(
            ready,
            progress,
            rest,
            lambda check: progress.check_ended(check, lines.of(check)),
            progress.check_progress,
        )


def _entries(wanted: list[InventoryHost], options: dict[str, Any]) -> Entries | None:
    """The inventory that takes the VMs in, looked at before anything is made."""
    if options["write_inventory"] is None:
        return None
    from localai_deploy.workflow.entries import prepare_entries

    return prepare_entries(options["write_inventory"], wanted, options["vault_password_file"])


def _enter(
    entries: Entries, ready: list[PlannedHost], result: workflow.DeployResult
) -> workflow.DeployResult:
    """Make those hosts entries that came through."""
    from localai_deploy.cli.inventory_view import file_lines
    from localai_deploy.workflow.entries import write_entries

    done = [one.host for one in ready if result.outcomes[one.host.name].error is None]
    written = write_entries(entries, done, say)
    for line in file_lines(entries.directory, written.changes):
        note(line)
    for node in written.missing_nodes:
        text = f"! {entries.directory} has no node {node}: PROXMOX_HOST and its companions have to tell of it"
        note(click.style(text, fg="yellow"))
    for name, error in written.errors.items():
        result.outcomes[name].error = error
    places = {one.name: entries.directory for one in done if one.name not in written.errors}
    return replace(result, written=places)
