"""``python -m tests.lab``: hosts and mirror by hand."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

from tests.lab.host import LabHost, all_hosts, find_host, start_host
from tests.lab.image import ensure_image, remove_unfinished
from tests.lab.layout import Lab, LabError, open_lab
from tests.lab.mirror_daemon import ensure_mirror, mirror_client, running_pid, serve, stop_mirror
from tests.lab.network import remove_networks
from tests.lab.system import system_packages


def prepare(lab: Lab, _: argparse.Namespace) -> Any:
    return {"image": str(ensure_image(lab))}


def up(lab: Lab, arguments: argparse.Namespace) -> Any:
    host = find_host(lab, arguments.name)
    if host is not None and not host.is_running():
        host.stop()
        host = None
    return describe(host or start_host(lab, arguments.name, arguments.sudo))


def down(lab: Lab, arguments: argparse.Namespace) -> Any:
    host = find_host(lab, arguments.name)
    if host is None:
        raise LabError(f"there is no host {arguments.name}")
    host.stop()
    return {"removed": host.name}


def clean(lab: Lab, _: argparse.Namespace) -> Any:
    return {"removed": clean_lab(lab)}


def status(lab: Lab, _: argparse.Namespace) -> Any:
    return {
        "lab": str(lab.directory),
        "mirror": {"url": mirror_client(lab).base_url, "pid": running_pid(lab)},
        "hosts": [describe(host) for host in all_hosts(lab)],
    }


def mirror(lab: Lab, _: argparse.Namespace) -> Any:
    serve(lab)


def packages(_: Lab, __: argparse.Namespace) -> Any:
    return list(system_packages())


def clean_lab(lab: Lab) -> list[str]:
    """Take away all hosts and the mirror; images, content and caches stay. Returns what was removed."""
    removed = []
    for host in all_hosts(lab):
        host.stop()
        removed.append(host.name)
    removed += remove_networks(lab)
    stop_mirror(lab)
    for rest in lab.hosts.glob("*"):
        shutil.rmtree(rest)
    remove_unfinished(lab)
    return removed


def describe(host: LabHost) -> dict[str, Any]:
    """All that a client needs to reach the host and what it may be given as mirrors."""
    base_url = ensure_mirror(host.lab)
    return {
        "name": host.name,
        "running": host.is_running(),
        "address": host.address,
        "port": host.port,
        "user": host.user,
        "private_key": str(host.private_key),
        "host_key": host.host_key,
        "fingerprint": host.fingerprint,
        "known_hosts": str(host.known_hosts),
        "sudo": host.sudo,
        "rootfs": str(host.rootfs),
        "mirrors": {
            "conda": f"{base_url}/conda",
            "huggingface": f"{base_url}/hf",
            "pypi": f"{base_url}/pypi/simple",
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--lab", type=Path, help="the lab's folder (default: $LOCALAI_LAB_DIR or .lab)")
    commands = parser.add_subparsers(dest="command", required=True)
    for action in (prepare, clean, status, mirror, packages):
        commands.add_parser(action.__name__).set_defaults(action=action)
    for action in (up, down):
        command = commands.add_parser(action.__name__)
        command.add_argument("name")
        command.set_defaults(action=action)
        if action is up:
            command.add_argument("--sudo", choices=("nopasswd", "password", "none"), default="nopasswd")
    return parser


def main() -> int:
    """Run one command; its result is JSON on stdout."""
    arguments = _parser().parse_args()
    try:
        result = arguments.action(open_lab(arguments.lab), arguments)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    if result is not None:
        print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
