"""``sandbox``: the embedded Proxmox node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from localai_deploy.cli.options import output_option
from localai_deploy.cli.output import print_json
from localai_deploy.cli.terminal import note, show
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import ExitCode
from localai_deploy.sandbox import control
from localai_deploy.sandbox.bodies import KINDS
from localai_deploy.sandbox.cache import Cache
from localai_deploy.sandbox.control import Look
from localai_deploy.sandbox.hardware_file import load_hardware, preset_names
from localai_deploy.sandbox.settings import (
    default_settings,
    parse_archive,
    parse_forward,
    places_of,
    read_settings,
)
from localai_deploy.sandbox_record import NODE, record_path

_STATE_COLOR = {"running": "green", "absent": None, "unwell": "red", "remains": "yellow"}
_SAID = {
    "running": "runs",
    "unwell": "is there but does not answer",
    "remains": "does not run, but has left something",
    "absent": "does not run",
}
_CACHE = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of what is built once and kept.  [default: below XDG_CACHE_HOME]",
)


@click.group(epilog="Example: localai-deploy sandbox start --body container")
def sandbox() -> None:
    """Run an embedded Proxmox VE node on this machine, to try things out without a real one.

    It speaks the part of the Proxmox API that this tool uses, and its guests live in a network of their
    own: the machine's network stays as it is. `up --node sandbox` and all other commands take it for a node.
    """


@sandbox.command(
    short_help="Start it and wait until it answers.",
    epilog="Example: localai-deploy sandbox start --body container",
)
@click.option(
    "--body",
    type=click.Choice(list(KINDS)),
    help="What stands behind a VM: "
    + "; ".join(f"{name}, {kind.summary}" for name, kind in KINDS.items())
    + ".  [default: container]",
)
@click.option("--pve", type=click.Choice(["8", "9"]), help="Release to behave as.  [default: 9]")
@click.option(
    "--debian-mirror",
    metavar="URL",
    help="Debian archive for the guests' system and their packages.  [default: this machine's own]",
)
@_CACHE
@click.option(
    "--forward",
    "forwards",
    metavar="[NAME=]ADDR:PORT",
    multiple=True,
    help="Let guests reach this address of this machine, also by a name; may be repeated.",
)
@click.option(
    "--guest-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate authority (PEM) that container guests trust besides the usual ones.",
)
@click.option(
    "--hardware",
    metavar="NAME|FILE",
    help=f"Nodes and cards: a YAML file, or one of {', '.join(preset_names())}.  [default: no cards]",
)
@output_option
def start(output: str, **options: Any) -> None:  # noqa: ANN401
    """Start the node, and say how to use it; one that runs already is left as it is.

    All that it makes is removed by `stop`, but for the guests' Debian system in the cache.
    """
    found, started = control.start(places_of(), _given(options), note)
    if output == "json":
        print_json("sandbox-start", started=started, **_data(found))
        return
    for line in _lines(found, "runs" if started else "runs already"):
        show(line)


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The settings that the command line names, checked."""
    given = {name: value for name, value in options.items() if value not in (None, ())}
    if "debian_mirror" in given:
        given["debian_mirror"] = parse_archive(given["debian_mirror"])
    if "forwards" in given:
        given["forwards"] = tuple(str(parse_forward(text)) for text in given["forwards"])
    for name in {"cache", "guest_ca"} & given.keys():
        given[name] = str(given[name].absolute())
    if "hardware" in given:
        given["hardware"] = _hardware(given["hardware"])
    if "pve" in given:
        given["pve"] = int(given["pve"])
    return given


def _hardware(text: str) -> str:
    """Checked; a file by its absolute path, for the node's process reads it."""
    load_hardware(text)
    return text if text in preset_names() else str(Path(text).absolute())


@sandbox.command(
    short_help="End it and remove all that it made.",
    epilog="Example: localai-deploy sandbox stop --purge",
)
@_CACHE
@click.option("--purge", is_flag=True, help="Empty the cache too.")
@output_option
def stop(cache: Path | None, *, purge: bool, output: str) -> None:
    """End the node with its guests, also after its process was killed; fine when there is none."""
    places = places_of()
    settings = read_settings(places) or default_settings()
    kept = Cache(cache.absolute() if cache else Path(settings.cache))
    size = kept.size_bytes()
    found = control.stop(places, kept, note, purge=purge)
    if output == "json":
        kept_data = {"directory": str(kept.directory), "bytes": size, "purged": purge}
        print_json("sandbox-stop", was=found.state, vms=_vms(found), cache=kept_data)
        return
    guests = f", and with it {len(found.vms)} VM(s)" if found.vms else ""
    show("there is no sandbox" if found.state == "absent" else f"the sandbox is gone{guests}")
    if size:
        fate = "was emptied" if purge else "stays for the next start; --purge empties it"
        show(f"  cache     {kept.directory} ({format_bytes(size)}) {fate}")


@sandbox.command(
    short_help="Show whether it runs, and how to use it.", epilog="Example: localai-deploy sandbox status"
)
@output_option
def status(output: str) -> int:
    """Look at the node; nothing is changed. Exit 1 when it is there but not as it should be."""
    found = control.look(places_of())
    if output == "json":
        print_json("sandbox-status", **_data(found))
    else:
        for line in _lines(found, _SAID[found.state]):
            show(line)
    return int(ExitCode.DONE if found.state in {"running", "absent"} else ExitCode.FAILED)


@sandbox.command(
    short_help="Empty it: no VMs, files, pools, mappings.", epilog="Example: localai-deploy sandbox reset"
)
@output_option
def reset(output: str) -> None:
    """Bring the running node back to its first state; address and credentials stay."""
    found = control.reset(places_of(), note)
    if output == "json":
        print_json("sandbox-reset", **_data(found))
    else:
        for line in _lines(found, "is as new"):
            show(line)


def _data(found: Look) -> dict[str, Any]:
    settings, record = found.settings, found.record
    places = found.places
    return {
        "state": found.state,
        "node": NODE,
        "api": f"https://{record.connection.host}" if record else None,
        "fingerprint": record.connection.fingerprint if record else None,
        "user": record.connection.token.user if record else None,
        "token_id": record.connection.token.name if record else None,
        "guest_ssh_args": list(record.connection.guest_ssh_args) if record else [],
        "record": str(record_path(places.runtime)),
        "data": str(places.data),
        "pid": record.pid if record else None,
        "body": settings.body if settings else None,
        "pve": settings.pve if settings else None,
        "debian_mirror": settings.debian_mirror if settings else None,
        "cache": settings.cache if settings else None,
        "guest_ca": settings.guest_ca if settings else None,
        "forwards": list(settings.forwards) if settings else [],
        "hardware": settings.hardware if settings else None,
        "vms": _vms(found),
        "trouble": list(found.trouble),
    }


def _vms(found: Look) -> list[dict[str, Any]]:
    return [{"vmid": vm["vmid"], "name": vm.get("name", ""), "status": vm["status"]} for vm in found.vms]


def _lines(found: Look, said: str) -> Iterator[str]:
    release = f" VE {found.settings.pve}" if found.settings else ""
    colored = click.style(said, fg=_STATE_COLOR[found.state])
    yield f"{click.style(NODE, bold=True)}: an embedded Proxmox{release} node, {colored}"
    if found.state == "running":
        yield from _facts(found)
    for line in found.trouble:
        yield f"  ! {line}"
    yield from _advice(found)


def _facts(found: Look) -> Iterator[str]:
    if found.record:
        yield f"  API       https://{found.record.connection.host} (from this machine only)"
        yield f"  record    {record_path(found.places.runtime)} (holds its token)"
    if found.settings:
        yield f"  guests    {found.settings.body}: {KINDS[found.settings.body].summary}"
        if found.settings.hardware:
            yield f"  hardware  {found.settings.hardware}"
    yield f"  files     {found.places.data} (removed by stop)"
    listed = ", ".join(f"{vm['vmid']} {vm['name']} ({vm['status']})" for vm in _vms(found))
    yield f"  VMs       {listed or 'none'}"


def _advice(found: Look) -> Iterator[str]:
    if found.state == "absent":
        yield "  start it  localai-deploy sandbox start"
    elif found.state == "running":
        yield f"  use it    localai-deploy up --node {NODE} --name demo --model REF"
        yield "  end it    localai-deploy sandbox stop"
    else:
        yield "  clear it  localai-deploy sandbox stop"
