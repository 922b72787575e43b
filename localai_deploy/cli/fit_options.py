"""What the options of ``fit`` stand for: a machine, a wish, and what of it may be chosen."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from localai_deploy.cli.options import node_from, node_options
from localai_deploy.domain.fit.calibration import timing_from
from localai_deploy.domain.fit.cards import card_from
from localai_deploy.domain.fit.choice import Freedom
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.speed import Timing
from localai_deploy.domain.fit.wish import ALL_LAYERS, CACHE_BITS, UNQUANTISED, CacheType, Card, Wish
from localai_deploy.domain.units import format_bytes, parse_bytes
from localai_deploy.errors import InputError, LocalaiError

Command = TypeVar("Command", bound=Callable[..., Any])
_CACHE_TYPES = click.Choice([*CACHE_BITS, "auto"])
_EVERYTHING = ("auto", "all", "99")
"""99 is how people write all layers, also of models that have more."""
DEFAULT_HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options amount to."""

    machine: Machine
    wish: Wish
    freedom: Freedom
    timing: Timing | None


_WRITING = (
    click.option("--hub", envvar="HF_ENDPOINT", default=DEFAULT_HUB, help="Base URL of the model hub."),
    click.option(
        "--picture", type=click.Path(path_type=Path), help="With --matrix: also draw it, as .svg or .png."
    ),
    click.option("--csv", type=click.Path(path_type=Path), help="With --matrix: also write it as CSV."),
    click.option("--matrix", is_flag=True, help="Models by cards: each --gpu and --vram by itself."),
    click.option(
        "--calibration",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="What `fit --measured … -o json` printed on this machine: later figures rest on it.",
    ),
    click.option("--measured", type=float, help="Tokens/s of generation that were measured here."),
)
_MACHINE = (
    click.option("--host-bandwidth", type=float, help="Of the host's memory, GB/s. [assumed: 40]"),
    click.option("--bandwidth", type=float, help="Of the cards given by --vram, GB/s."),
    click.option("--reserve", metavar="SIZE", help="Left free on each card. [default: 1GiB]"),
    click.option("--ram", metavar="SIZE", help="The host's memory; without it none is judged."),
    click.option("--node", metavar="N", help="The cards and the memory of a Proxmox node."),
    click.option("--host", "real", is_flag=True, help="This machine's own cards and memory."),
    click.option("--vram", metavar="SIZE", multiple=True, help="A card of this memory, as 8GiB; several."),
    click.option(
        "--gpu", metavar="ID|NAME", multiple=True, help="A card: 10de:2204, 'RTX 3090'; several together."
    ),
)
_WISH = (
    click.option("--cpu-moe", metavar="N|auto", help="Blocks whose experts stay on the host."),
    click.option(
        "--parallel", type=click.IntRange(1), default=1, show_default=True, help="Slots of the server."
    ),
    click.option("--cache-type-v", type=_CACHE_TYPES, default="f16", help="Of values. [default: f16]"),
    click.option(
        "--cache-type-k",
        type=_CACHE_TYPES,
        default="f16",
        help="Of keys; auto: q8_0 for both where cards then hold more. [default: f16]",
    ),
    click.option(
        "--ubatch",
        type=click.IntRange(1),
        default=512,
        show_default=True,
        help="Tokens computed at once.",
    ),
    click.option(
        "--flash-attention", type=click.Choice(["on", "off", "auto"]), default="auto", help="auto is on."
    ),
    click.option("--gpu-layers", metavar="N|all|auto", default="auto", help="99 means all. [default: auto]"),
    click.option("--context", metavar="N|max", default="4096", help="Tokens of all slots. [default: 4096]"),
)
_MODEL = (
    click.option("--projector", metavar="REF", help="What turns pictures or sound into embeddings."),
    click.option("--draft", metavar="REF", help="A small model beside it that guesses tokens ahead."),
    click.option(
        "--model",
        metavar="REF",
        multiple=True,
        help="hf:ORG/REPO/FILE, hf:ORG/REPO (the quantisation is chosen), a catalogue name, "
        "https://…, or a path. Without it: one of the catalogue's that the cards take.",
    ),
)


def fit_options(command: Command) -> Command:
    """Options of ``fit``; click lists those first that are given last."""
    for option in (*_WRITING, *_WISH, *_MACHINE, *_MODEL):
        command = option(command)
    return node_options(command)


def asked(options: Mapping[str, Any]) -> Asked:
    """Read all options.

    :raises InputError: ``usage``, ``size-invalid``, ``gpu-name-unknown``, ``fit-measurement-invalid``.
    :raises LocalaiError: ``fit-wish-impossible``.
    """
    layers, experts = options["gpu_layers"], options["cpu_moe"]
    types = (options["cache_type_k"], options["cache_type_v"])
    machine = machine_of(options)
    _refuse_contradiction(options)
    wish = Wish(
        context=0 if options["context"] == "max" else _whole("--context", options["context"], least=1),
        gpu_layers=ALL_LAYERS if layers in _EVERYTHING else _whole("--gpu-layers", layers),
        flash_attention=options["flash_attention"] != "off",
        ubatch=options["ubatch"],
        cache_type_k=_cache_type(types[0]),
        cache_type_v=_cache_type(types[1]),
        parallel=options["parallel"],
        cpu_expert_layers=0 if experts in {None, "auto"} else _whole("--cpu-moe", experts),
    )
    chosen_experts = experts == "auto" or (experts is None and layers == "auto")
    freedom = Freedom(
        layers == "auto", chosen_experts, options["context"] == "max", types == ("auto", "auto")
    )
    return Asked(machine, wish, freedom, _timing(options["calibration"]))


def machine_of(options: Mapping[str, Any]) -> Machine:
    """The machine that is meant; this one with ``--host``, a Proxmox node with ``--node``."""
    bandwidth = _positive("--bandwidth", options["bandwidth"])
    cards = cards_of(options["gpu"], options["vram"], bandwidth)
    ram = parse_bytes(options["ram"]) if options["ram"] else 0
    machine = Machine(tuple(cards), ram, _positive("--host-bandwidth", options["host_bandwidth"]) * 1e9)
    if options["real"] or options["node"]:
        if cards:
            raise InputError("usage", "--host and --node mean real cards: leave --gpu and --vram away")
        real = _real_machine(options)
        machine = replace(machine, cards=real.cards, ram_bytes=ram or real.ram_bytes)
    return replace(machine, reserve_bytes=parse_bytes(options["reserve"])) if options["reserve"] else machine


def _real_machine(options: Mapping[str, Any]) -> Machine:
    if not options["node"]:
        from localai_deploy.workflow.own_machine import own_machine

        return own_machine()
    from localai_deploy.cli.progress import say
    from localai_deploy.workflow.node_machine import node_machine

    return node_machine(node_from(options["node"], options), say)


def cards_of(names: Sequence[str], sizes: Sequence[str], bandwidth_gb_s: float = 0.0) -> list[Card]:
    """The cards that ``--gpu`` and ``--vram`` name; one of each is one card with another memory."""
    found = [card_from(name) for name in names]
    memories = [parse_bytes(size) for size in sizes]
    if len(found) == len(memories) == 1:
        return [replace(found[0], memory_bytes=memories[0])]
    return found + [
        Card(f"card of {_gib(size)}", size, bandwidth_bytes_s=bandwidth_gb_s * 1e9) for size in memories
    ]


def _cache_type(text: str) -> CacheType:
    return cast("CacheType", "f16" if text == "auto" else text)


def _refuse_contradiction(options: Mapping[str, Any]) -> None:
    types = options["cache_type_k"], options["cache_type_v"]
    if "auto" in types and types != ("auto", "auto"):
        raise InputError("usage", "--cache-type-k auto and --cache-type-v auto go together")
    if options["flash_attention"] == "off" and _cache_type(types[1]) not in UNQUANTISED:
        raise LocalaiError(
            "fit-wish-impossible",
            "a server cannot be started like this",
            why="a quantised value cache needs flash attention",
            hint="possible: --flash-attention on, or --cache-type-v f16",
        )


def _gib(size: int) -> str:
    return f"{size >> 30} GiB" if size % (1 << 30) == 0 else format_bytes(size)


def _timing(path: Path | None) -> Timing | None:
    if path is None:
        return None
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        document = None
    return timing_from(document.get("calibration") if isinstance(document, dict) else None)


def _whole(option: str, text: str, least: int = 0) -> int:
    if not text.isdecimal() or not least <= int(text) < 1 << 31:
        raise InputError("usage", f"{option} is {text!r}, not a whole number from {least} on")
    return int(text)


def _positive(option: str, value: float | None) -> float:
    if value is not None and not 0 < value < 1e6:
        raise InputError("usage", f"{option} is {value}, not a positive number")
    return value or 0.0
