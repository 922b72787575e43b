"""``gpu``: what cards are, which VMs have them, and giving them to other VMs."""

from __future__ import annotations

from collections.abc import Iterator

import click

from localai_deploy.cli.gpu_list import list_
from localai_deploy.cli.gpu_move import move, release
from localai_deploy.cli.options import output_option
from localai_deploy.cli.output import print_json
from localai_deploy.cli.terminal import show
from localai_deploy.domain.gpu.by_name import card_named
from localai_deploy.domain.gpu.card import Card, card_data
from localai_deploy.domain.gpu.catalogue import card_of
from localai_deploy.domain.gpu.pci_id import parse_pci_id
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import InputError


@click.group(epilog="Example: localai-deploy gpu list --node pve1")
def gpu() -> None:
    """Tell what a card is and who has it; give it to another VM."""


gpu.add_command(list_)
gpu.add_command(move)
gpu.add_command(release)


@gpu.command(
    short_help="What a card is, by its PCI id or name.",
    epilog='Example: localai-deploy gpu info "RTX 3090"',
)
@click.argument("card_text", metavar="ID|NAME")
@output_option
def info(card_text: str, output: str) -> None:
    """Tell from a PCI id (lspci -nn) or a name what a card is; nothing is looked at."""
    card = _card(card_text)
    if output == "json":
        print_json("gpu-info", **card_data(card))
        return
    show(f"{click.style(card.name, bold=True)}  {card.pci_id}")
    for label, text in _lines(card):
        show(f"  {label:<10} {text}")


def _card(text: str) -> Card:
    """Names have no colon, and no name is a number alone; ``A100`` is one."""
    try:
        return card_of(parse_pci_id(text))
    except InputError:
        if ":" in text or text.isdigit():
            raise
        return card_named(text).card


def _lines(card: Card) -> Iterator[tuple[str, str]]:
    data = card_data(card)
    capability = data["compute_capability"] or "unknown"
    yield "chip", f"{card.chip or 'unknown'} ({card.generation}), compute capability {capability}"
    yield "memory", _memory(card)
    if card.figures.tdp_w is not None:
        yield "power", f"{card.figures.tdp_w} W as sold"
    yield "driver", _driver(card)
    yield "runtime", ", ".join(data["runtime_builds"]) or "no build runs on it: use the CPU"
    for number, source in enumerate(card.sources):
        yield "" if number else "sources", source


def _memory(card: Card) -> str:
    sizes = " or ".join(map(format_bytes, card.figures.vram_choices)) or "unknown"
    bandwidth = card.figures.bandwidth_gb_s
    return sizes if bandwidth is None else f"{sizes}, {bandwidth:g} GB/s"


def _driver(card: Card) -> str:
    modules = " or ".join(card.kernel_modules) + " kernel modules"
    first = f"branch {card.first_branch} or newer" if card.first_branch else "any branch"
    last = "" if card.last_branch is None else f", {card.last_branch} at most"
    return f"{modules}; {first}{last}"
