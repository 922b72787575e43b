"""``gpu``: what an NVIDIA card is and which driver it needs."""

from __future__ import annotations

from collections.abc import Iterator

import click

from localai_deploy.cli.options import output_option
from localai_deploy.cli.output import print_json
from localai_deploy.cli.terminal import show
from localai_deploy.domain.gpu.card import Card, card_data
from localai_deploy.domain.gpu.catalogue import card_of
from localai_deploy.domain.gpu.pci_id import parse_pci_id
from localai_deploy.domain.units import format_bytes


@click.group(epilog="Example: localai-deploy gpu info 10de:2204")
def gpu() -> None:
    """Tell what a card is and which driver it needs."""


@gpu.command(
    short_help="What the card with a PCI id is.",
    epilog="Example: localai-deploy gpu info 10de:2204 -o json",
)
@click.argument("pci_id", metavar="ID")
@output_option
def info(pci_id: str, output: str) -> None:
    """Tell from a PCI id (lspci -nn) what a card is; nothing is looked at."""
    card = card_of(parse_pci_id(pci_id))
    if output == "json":
        print_json("gpu-info", **card_data(card))
        return
    show(f"{click.style(card.name, bold=True)}  {card.pci_id}")
    for label, text in _lines(card):
        show(f"  {label:<10} {text}")


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
