"""``down``: take away what was installed."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import click

from localai_deploy.cli.failure import error_lines
from localai_deploy.cli.host_table import ABSENT, GONE, WAITS, HostTable, not_begun, table_of, tell_end
from localai_deploy.cli.options import host_options, hosts_from, require_consent, verbose_option, yes_option
from localai_deploy.cli.output import error_data, print_json
from localai_deploy.cli.plan_text import plan_lines
from localai_deploy.cli.plan_view import notice_unfinished_removal
from localai_deploy.cli.progress import RunProgress, say
from localai_deploy.cli.run_options import forks_option
from localai_deploy.cli.terminal import note, show, width_of
from localai_deploy.domain import paths
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.workflow import deploy as workflow
from localai_deploy.workflow.apply import HostOutcome
from localai_deploy.workflow.removal import Removal, plan_removal, remove
from localai_deploy.workflow.together import Answer, ask_each


@click.command(epilog="Example: localai-deploy down admin@192.0.2.10 --purge --yes")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@host_options
@forks_option
@yes_option
@click.option("--purge", is_flag=True, help="Delete the models too.")
@verbose_option
def down(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Remove service, environment, packages and user that came with us. Models stay unless --purge.

    HOSTS, or a --limit, have to be named: nothing stands for the whole inventory.
    """
    if not hosts and not options["limit"]:
        raise click.UsageError("Missing argument 'HOST...', or --limit PATTERN.")
    wanted = hosts_from(hosts, options)
    with ExitStack() as stack:
        answers = _look(wanted, stack, options)
        removals = [one.value for one in answers if one.value and one.value.plan.steps]
        for removal in removals:
            for line in plan_lines(removal.plan, removal.facts, width_of(sys.stderr)):
                note(line)
        errors = {one.host.name: one.error for one in answers if one.error}
        notice_unfinished_removal(removals)
        outcomes: Mapping[str, HostOutcome] = {}
        if removals:
            require_consent("Remove this?", yes=options["yes"])
            outcomes = _remove(answers, table_of({one.host.name: _state(one) for one in answers}), options)
            errors |= {name: outcome.error for name, outcome in outcomes.items() if outcome.error}
    if options["output"] == "json":
        print_json("down", hosts=[_host_data(one, errors, outcomes) for one in answers])
    else:
        _print_text(answers, errors)
    if errors and len(errors) == len(wanted) and not removals:
        return int(next(iter(errors.values())).exit_code)
    return int(ExitCode.PARTIAL if errors else ExitCode.DONE)


def _look(
    wanted: Sequence[InventoryHost], stack: ExitStack, options: Mapping[str, Any]
) -> list[Answer[Removal]]:
    targets = workflow.open_targets(wanted, stack, say)

    def plan(host: InventoryHost) -> Removal:
        return plan_removal(host, targets[host.name], say, stack, purge=options["purge"])

    return ask_each(wanted, plan, options["forks"])


def _state(answer: Answer[Removal]) -> str:
    """How a host stands before the run."""
    if answer.error:
        return not_begun(answer.error)
    return WAITS if answer.value and answer.value.plan.steps else ABSENT


def _remove(
    answers: Sequence[Answer[Removal]], table: HostTable | None, options: Mapping[str, Any]
) -> Mapping[str, HostOutcome]:
    removals = [one.value for one in answers if one.value and one.value.plan.steps]
    with RunProgress(table, verbose=options["verbose"]) as progress:
        outcomes = remove(removals, progress, options["forks"])
    for outcome in outcomes.values():
        for text in outcome.notes:
            note(click.style(f"! left over: {text}", fg="yellow"))
    tell_end(table, {host: one.error.error_id if one.error else GONE for host, one in outcomes.items()})
    return outcomes


def _host_data(
    answer: Answer[Removal], errors: Mapping[str, LocalaiError], outcomes: Mapping[str, HostOutcome]
) -> dict[str, object]:
    name = answer.host.name
    notes = outcomes[name].notes if name in outcomes else ()
    left: dict[str, object] = {"left_over": list(notes)} if notes else {}
    if name in errors:
        return {"host": name, "removed": False, **left, "error": error_data(errors[name])}
    kept = answer.value.kept if answer.value else ()
    left |= {"kept": list(kept)} if kept else {}
    return {"host": name, "removed": bool(answer.value and answer.value.plan.steps), **left}


def _print_text(answers: Sequence[Answer[Removal]], errors: Mapping[str, LocalaiError]) -> None:
    for one in answers:
        if error := errors.get(one.host.name):
            for line in error_lines(error, width_of(sys.stdout)):
                show(line)
        elif one.value:
            show(f"{one.host.name}: {_outcome(one.value)}")


def _outcome(removal: Removal) -> str:
    if not removal.plan.steps:
        return ABSENT
    if removal.facts is None:
        return "; ".join(["gone, with its disks", *removal.kept])
    kept = [] if removal.purge else list(removal.facts.models)
    size = format_bytes(sum(model.size_bytes or model.partial_bytes for model in kept))
    stays = f"; {len(kept)} model file(s) stay in {paths.MODEL_STORE_DIR} ({size}), --purge deletes them"
    return GONE + (stays if kept else "")
