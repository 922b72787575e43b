"""``gpu move`` and ``gpu release``: a card for another VM, or for none."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from localai_deploy.cli.gpu_nodes import NODE, inventory_hosts, one_connection
from localai_deploy.cli.options import node_options, require_consent, yes_option
from localai_deploy.cli.output import print_json
from localai_deploy.cli.progress import say
from localai_deploy.cli.terminal import note, show
from localai_deploy.domain.pve.card_claims import CardUser
from localai_deploy.domain.pve.card_listing import CardRow
from localai_deploy.domain.pve.card_move import CardMove, find_vm
from localai_deploy.domain.pve.gpu_selection import CardChoice
from localai_deploy.errors import LocalaiError
from localai_deploy.workflow.card_inventory import CardLines
from localai_deploy.workflow.card_look import NodeLook, look_at, make_mapping, planned_move

if TYPE_CHECKING:
    from localai_deploy.workflow.card_moves import CardMover

_TIMEOUT = click.option(
    "--timeout",
    "timeout_s",
    metavar="S",
    type=click.IntRange(1, 86_400),
    default=180,
    show_default=True,
    help="Seconds that a guest may take to power off.",
)
_FOREIGN = click.option("--foreign", is_flag=True, help="VMs that are not ours may have a part in it.")


@click.command(
    short_help="Give a card to another VM.",
    epilog="Example: localai-deploy gpu move 01:00 --to gaming --node pve1 --foreign",
)
@click.argument("card", metavar="CARD")
@click.option("--to", "target", metavar="VM", required=True, help="Name or id of the VM that is to have it.")
@NODE
@_TIMEOUT
@_FOREIGN
@yes_option
@node_options
def move(card: str, target: str, **options: Any) -> None:  # noqa: ANN401
    """Shut the VM down that has the card, start the other, and see that it has the card.

    CARD is an address, the name of a resource mapping or a card's name. If the other VM does not start
    with the card, the first one gets it back. A run that was cut off is gone on with by the same command.
    """
    look = look_at(one_connection(options), say)
    choice, vm = look.card(card), find_vm(look.world, look.node, target)
    planned = planned_move(look, choice, vm)
    notes: tuple[str, ...] = ()
    needed = not _is_settled(look, choice, planned)
    if needed:
        for step in planned.steps():
            note(f"  - {step}")
        _check_foreign(planned.foreign, options)
        require_consent(f"Give {choice.card} to {vm.holder}?", yes=options["yes"])
        make_mapping(look, choice)
        notes = _mover(look, choice, options["timeout_s"]).move(planned)
    lines = CardLines(inventory_hosts(options), look, choice, planned.names)
    giver = planned.before.source
    notes += (*(lines.against_giver(giver.holder.name) if giver else ()), *lines.against_taker(vm.name))
    _tell_move(look, choice, planned, notes, changed=needed, output=options["output"])


def _is_settled(look: NodeLook, choice: CardChoice, planned: CardMove) -> bool:
    """Whether the VM runs with the card, and its lease says so or nobody's does."""
    owner = _row(look, choice).owner
    lease = owner.lease if owner else None
    return planned.is_done and not planned.unnoted and lease is not None and lease.before is None


def _tell_move(
    look: NodeLook, choice: CardChoice, planned: CardMove, notes: Iterable[str], *, changed: bool, output: str
) -> None:
    source = planned.before.source
    if output == "json":
        print_json(
            "gpu-move",
            node=look.node,
            card=choice.card.slot,
            mapping=choice.name,
            changed=changed,
            to=_vm_data(planned.target),
            before=None if source is None else {"vm": source.holder.name, "vmid": source.holder.vmid},
            notes=list(notes),
        )
        return
    _warn(notes)
    done = "has" if changed else "has already"
    show(f"{planned.target.holder} {done} {choice.card}")


def _warn(notes: Iterable[str]) -> None:
    for text in notes:
        note(click.style(f"! {text}", fg="yellow"))


@click.command(
    short_help="Free a card.",
    epilog="Example: localai-deploy gpu release gaming --node pve1 --yes",
)
@click.argument("what", metavar="CARD|VM")
@NODE
@_TIMEOUT
@_FOREIGN
@yes_option
@node_options
def release(what: str, **options: Any) -> None:  # noqa: ANN401
    """Shut the VM down that has the card, and take its lease away.

    The VM keeps the card in its config, and takes it when somebody starts it and the card is free; its next
    `up` takes the card out of there, unless --gpu or localai_gpu names one again.
    """
    look = look_at(one_connection(options), say)
    freed = _to_be_freed(look, what)
    if freed:
        owners = [owner for row in freed if (owner := _owner(look, row)) is not None]
        _show_release(look, freed)
        _check_foreign(owners, options)
        require_consent("Free this?", yes=options["yes"])
        for row in freed:
            _release(look, row, options["timeout_s"])
    notes = _lines_of_givers(look, freed, options)
    if options["output"] == "json":
        print_json(
            "gpu-release",
            node=look.node,
            freed=[_freed_data(look, row) for row in freed],
            notes=notes,
        )
        return
    _warn(notes)
    for row in freed:
        show(f"{row.card} is free")
    if not freed:
        show("nobody has it: nothing was done")


def _lines_of_givers(look: NodeLook, rows: Iterable[CardRow], options: Mapping[str, Any]) -> list[str]:
    owned = [(row, owner) for row in rows if (owner := _owner(look, row)) is not None]
    hosts = inventory_hosts(options) if owned else ()
    return [
        line
        for row, owner in owned
        for line in CardLines(hosts, look, _choice(row), row.names).against_giver(owner.name)
    ]


def _choice(row: CardRow) -> CardChoice:
    return CardChoice(row.card, row.mapping, row.mapping.name if row.mapping else "")


def _to_be_freed(look: NodeLook, what: str) -> list[CardRow]:
    """Cards that a VM has, or the one card; without those that nobody claims."""
    rows = look.listing().rows
    if any(what in {one.name, str(one.vmid)} for one in look.world.vms):
        vm = find_vm(look.world, look.node, what)
        return [row for row in rows if row.owner is not None and row.owner.holder.is_same(vm.holder)]
    slot = look.card(what).card.slot
    return [row for row in rows if row.card.slot == slot and (row.owner is not None or row.dead)]


def _show_release(look: NodeLook, rows: Iterable[CardRow]) -> None:
    for row in rows:
        owner = _owner(look, row)
        if owner is not None and owner.running:
            note(f"  - shut {owner.holder} down")
        if owner is not None and owner.onboot:
            note(f"  ! it starts with the node and would take the card again: qm set {owner.vmid} --onboot 0")
        if row.dead or (row.owner is not None and row.owner.lease is not None):
            note(f"  - take the lease of {row.card} away")


def _release(look: NodeLook, row: CardRow, timeout_s: int) -> None:
    mover, owner = _mover(look, _choice(row), timeout_s), _owner(look, row)
    if owner is not None:
        mover.release(owner, row.names)
    for mapping in row.mappings:
        mover.leases.free(mapping.name)


def _owner(look: NodeLook, row: CardRow) -> CardUser | None:
    """The VM that has the card, if it is there."""
    if row.owner is None:
        return None
    return next((one for one in look.world.vms if one.holder.is_same(row.owner.holder)), None)


def _row(look: NodeLook, choice: CardChoice) -> CardRow:
    return next(row for row in look.listing().rows if row.card.slot == choice.card.slot)


def _mover(look: NodeLook, choice: CardChoice, timeout_s: int) -> CardMover:
    from localai_deploy.proxmox.card_vms import CardVms
    from localai_deploy.proxmox.leases import Leases
    from localai_deploy.proxmox.tasks import TaskWaiter
    from localai_deploy.workflow.card_moves import CardMover

    return CardMover(
        Leases(look.client, f"move-{secrets.token_hex(4)}"),
        CardVms(look.client, TaskWaiter(look.client)),
        choice.guest_ids,
        say,
        timeout_s,
    )


def _check_foreign(vms: Iterable[CardUser], options: Mapping[str, Any]) -> None:
    foreign = [one for one in vms if not one.ours]
    if foreign and not options["foreign"]:
        names = ", ".join(str(one.holder) for one in foreign)
        raise LocalaiError(
            "card-foreign",
            f"{names} is not ours, and would be shut down, started or changed",
            hint="look at the steps above, and give --foreign when that is meant",
        )


def _vm_data(vm: CardUser) -> dict[str, Any]:
    return {"vm": vm.name, "vmid": vm.vmid, "ours": vm.ours}


def _freed_data(look: NodeLook, row: CardRow) -> dict[str, Any]:
    owner = _owner(look, row)
    return {
        "card": row.card.slot,
        "mappings": [one.name for one in row.mappings],
        "before": None if owner is None else _vm_data(owner),
    }
