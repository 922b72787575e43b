"""``init``: begin an inventory."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from localai_deploy.cli.completion import complete_reference
from localai_deploy.cli.options import output_option, require_consent, yes_option
from localai_deploy.cli.output import print_json
from localai_deploy.cli.terminal import note, show
from localai_deploy.errors import InputError, LocalaiError

if TYPE_CHECKING:
    from localai_deploy.inventory.new import NewInventory

_KINDS = ("node", "vm", "gpu", "bare_metal", "wsl")
_NONE = "empty: no more"


def _machines(flag: str, value: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(flag, multiple=True, metavar=f"NAME={value}", callback=_pairs, help=text)


def _pairs(context: click.Context, parameter: click.Parameter, words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not name or not value:
            raise click.BadParameter(f"{word!r} is no NAME=VALUE", context, parameter)
        if name in found:
            raise click.BadParameter(f"{name} is named twice", context, parameter)
        found[name] = value
    return found


@click.command(
    epilog="Example: localai-deploy init home --bare-metal nas=admin@192.0.2.10 --model hf:ORG/REPO/FILE.gguf"
)
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--model", metavar="REF", default="", shell_complete=complete_reference, help="Model to serve.")
@_machines("--wsl", "USER@HOST", "A WSL distribution; localhost for the one that runs the command.")
@_machines("--bare-metal", "USER@HOST", "A machine that is there; localhost for this one.")
@_machines("--gpu", "CARD", "A card of the node for the VM NAME, as `up --gpu` takes it.")
@_machines("--vm", "NODE", "A VM to be made on a node.")
@_machines("--node", "ADDRESS", "A Proxmox node and where its API is.")
@yes_option
@output_option
def init(directory: Path, **options: Any) -> None:  # noqa: ANN401
    """Write a new inventory into DIRECTORY. Without flags for machines it asks; nothing is overwritten.

    What it writes is a plain Ansible inventory, and yours from then on.
    """
    from localai_deploy.inventory.new import new_files, require_new, write_new

    require_new(directory)
    wanted = _wanted(options)
    files = new_files(wanted)
    for name, text in files.items():
        note(click.style(f"{directory / name}", bold=True))
        for line in text.splitlines():
            note(f"    {line}")
    require_consent("Write these files?", yes=options["yes"])
    write_new(directory, files)
    _require_right(directory)
    if options["output"] == "json":
        print_json("init", directory=str(directory.resolve()), files=sorted(files), hosts=wanted.hosts)
        return
    place = shlex.quote(str(directory))
    show(f"written: {directory} ({', '.join(wanted.hosts)})")
    show(f"check it: localai-deploy config check -i {place}")
    show(f"go on:    localai-deploy up -i {place}")


def _wanted(options: Mapping[str, Any]) -> NewInventory:
    from localai_deploy.inventory.new import NewInventory

    given = {kind: options[kind] for kind in _KINDS}
    model = options["model"]
    if not any(given.values()):
        _require_somebody()
        given = _ask_machines()
    if not model and sys.stdin.isatty():
        model = _ask("Model for all hosts (hf:…, or a name of `model catalogue`; empty: what each one takes)")
    return NewInventory(
        given["node"], given["vm"], given["gpu"], given["bare_metal"], given["wsl"], model.strip()
    )


def _require_somebody() -> None:
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise InputError(
            "confirmation-needed",
            "nobody can be asked which machines there are: this is not a terminal",
            hint="name them: --bare-metal, --wsl, --node and --vm, with --yes",
        )


def _ask_machines() -> dict[str, dict[str, str]]:
    """The questions; an empty answer goes on to the next one."""
    given: dict[str, dict[str, str]] = {kind: {} for kind in _KINDS}
    given["node"] = _ask_pairs("Proxmox node", "address of its API")
    if given["node"]:
        given["vm"] = _ask_pairs("VM to be made", f"its node ({', '.join(given['node'])})")
    for vm in given["vm"]:
        card = _ask(f"Card for {vm} (address, mapping, name or auto; empty: none)")
        given["gpu"] |= {vm: card} if card else {}
    given["bare_metal"] = _ask_pairs("Machine that is there", "USER@HOST, or localhost")
    given["wsl"] = _ask_pairs("WSL distribution", "USER@HOST, or localhost")
    return given


def _ask_pairs(what: str, value: str) -> dict[str, str]:
    found: dict[str, str] = {}
    while name := _ask(f"{what}: its name ({_NONE})"):
        found[name] = _ask(f"{name}: {value}", needed=True)
    return found


def _ask(question: str, *, needed: bool = False) -> str:
    answer = click.prompt(question, default=None if needed else "", show_default=False, err=True)
    return str(answer).strip()


def _require_right(directory: Path) -> None:
    """Read back what was written, as every command will."""
    from localai_deploy.inventory.check import check_inventory
    from localai_deploy.inventory.specs import Overrides

    problems = check_inventory([], directory, Overrides()).problems
    if problems:
        raise LocalaiError(
            "inventory-unreadable", f"{directory} was written, but is not right", why=problems[0].error.what
        )
