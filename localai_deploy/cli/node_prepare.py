"""``node prepare``: give cards of a node to vfio-pci from its next boot on, or take that back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from localai_deploy.cli.node_ssh import accept_host_key, login_of
from localai_deploy.cli.options import node_options, require_consent, verbose_option, yes_option
from localai_deploy.cli.output import print_json
from localai_deploy.cli.plan_text import finding_lines
from localai_deploy.cli.progress import RunProgress, say
from localai_deploy.cli.terminal import note, show, width_of
from localai_deploy.errors import InputError

if TYPE_CHECKING:
    from localai_deploy.domain.node.preparation import Preparation
    from localai_deploy.inventory.node_ssh import NodeSsh
    from localai_deploy.workflow.node_preparation import Foreseen, NodeWork

_COLORS = {"+": "green", "-": "red"}


@click.command(
    short_help="Give cards of a node to vfio-pci, by address; or take that back.",
    epilog="Example: localai-deploy node prepare pve1 --card 01:00 --reboot",
)
@click.argument("node_name", metavar="N")
@click.option(
    "--card",
    "cards",
    metavar="ADDRESS",
    multiple=True,
    help="A card that VMs are to get, with all its functions.  [default: those prepared before, "
    "else the one that does not show the console]",
)
@click.option("--reboot", is_flag=True, help="Reboot the node if that is needed, wait, and look again.")
@click.option("--rollback", is_flag=True, help="Take back all that was prepared.")
@click.option("--check", "only_check", is_flag=True, help="Show the difference and change nothing.")
@accept_host_key
@yes_option
@verbose_option
@node_options
def prepare(node_name: str, cards: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401
    """Set kernel parameters, initramfs and modules of node N, over SSH, so that VMs can get its cards.

    The difference is shown and asked about. Cards are bound by address: an equal one stays with the node.
    Without --reboot it counts from the next boot on. A second run changes nothing.
    """
    from localai_deploy.domain.node.preparation import prepare_for
    from localai_deploy.domain.pci.address import parse_address
    from localai_deploy.workflow.node_preparation import NodeWork

    wanted = [parse_address(one) for one in cards]
    login = login_of(node_name, options)
    _require_permission(node_name, login, options)
    with ExitStack() as stack:
        work = NodeWork(node_name, login, stack)
        preparation = None if options["rollback"] else prepare_for(work.look(), wanted)
        say(f"{node_name}: what would change")
        foreseen = work.foresee(preparation, reboot=options["reboot"])
        _show_difference(node_name, preparation, foreseen)
        changed = 0
        if foreseen.changes and not options["only_check"]:
            question = f"Change this on node {node_name}{' and reboot it' if options['reboot'] else ''}?"
            require_consent(question, yes=options["yes"])
            changed = _carry_out(work, preparation, options)
        _print_result(work, preparation, foreseen, changed, options)


def _require_permission(node_name: str, login: NodeSsh, options: Mapping[str, Any]) -> None:
    """Where nobody can be asked, the inventory has to allow it."""
    if options["only_check"] or login.may_prepare or (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    raise InputError(
        "node-prepare-unasked",
        f"node {node_name} is not changed where nobody can be asked",
        why="a wrong kernel parameter can keep a node from booting",
        hint=f"run it on a terminal, or set localai_proxmox_ssh_prepare: true for {node_name}",
    )


def _show_difference(node_name: str, preparation: Preparation | None, foreseen: Foreseen) -> None:
    for one in preparation.functions if preparation else ():
        note(f"  {one.address} {one.short_id}: {one.driver or 'no driver'} -> vfio-pci")
    for line in foreseen.difference:
        note(click.style(line, fg=_COLORS.get(line[:1])))
    if not foreseen.changes:
        note(f"{node_name}: nothing to change")


def _carry_out(work: NodeWork, preparation: Preparation | None, options: Mapping[str, Any]) -> int:
    from localai_deploy.domain.plan import StepKind

    with RunProgress(verbose=options["verbose"]) as progress:
        progress.step_started(StepKind.PREPARE, [work.node])
        changed = work.carry_out(preparation, progress.task_event, reboot=options["reboot"])
        progress.step_ended(StepKind.PREPARE, {work.node: changed}, [])
    return changed


def _print_result(
    work: NodeWork,
    preparation: Preparation | None,
    foreseen: Foreseen,
    changed: int,
    options: Mapping[str, Any],
) -> None:
    """What is so now, read from the node once more."""
    from localai_deploy.cli.doctor_view import findings_data
    from localai_deploy.domain.node.findings import node_findings

    hardware = work.look()
    findings = node_findings(hardware)
    wanted = [one.address for one in preparation.functions] if preparation else []
    functions = [one for one in hardware.functions if one.address in wanted]
    if options["output"] == "json":
        print_json(
            "node-prepare",
            node=work.node,
            rollback=preparation is None,
            foreseen=foreseen.changes,
            changed=changed,
            devices=[
                {"address": str(one.address), "id": one.short_id, "driver": one.driver or None}
                for one in functions
            ],
            findings=findings_data(findings),
        )
        return
    for one in functions:
        show(f"{one.address} {one.short_id}: {one.driver or 'no driver'}")
    for finding in findings:
        for line in finding_lines(finding, width_of(sys.stdout)):
            show(line)
