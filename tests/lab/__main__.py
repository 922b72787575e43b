"""``python -m tests.lab``: hosts and mirror by hand."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.debian_root import remove_unfinished
from tests.lab.host import LabHost, find_host, known_names, remove_host, start_host
from tests.lab.image import SUITES, ensure_image
from tests.lab.layout import Lab, LabError, open_lab
from tests.lab.mirror_daemon import https_url, mirror_client, mirror_urls, running_pid, serve, stop_mirror
from tests.lab.network import remove_interfaces
from tests.lab.system import system_packages


def prepare(lab: Lab, _: argparse.Namespace) -> Any:
    """build the image and the content that are missing"""
    from tests.lab.content import ensure_content

    return {"image": str(ensure_image(lab)), "content": asdict(ensure_content(lab.directory))}


def image(lab: Lab, _: argparse.Namespace) -> Any:
    """build the cloud image if it is missing; its file, URL and checksum"""
    from tests.lab.cloud_image import ensure_cloud_image

    return asdict(ensure_cloud_image(lab))


def up(lab: Lab, arguments: argparse.Namespace) -> Any:
    """start a host unless it runs, and tell how to reach it"""
    host = find_host(lab, arguments.name)
    if host is not None and not host.is_running():
        host.stop()
        host = None
    return describe(host or start_host(lab, arguments.name, arguments.sudo, arguments.suite))


def down(lab: Lab, arguments: argparse.Namespace) -> Any:
    """take a host away, also one that never came up"""
    if arguments.name not in known_names(lab):
        raise LabError(f"there is no host {arguments.name}")
    remove_host(lab, arguments.name)
    return {"removed": arguments.name}


def clean(lab: Lab, arguments: argparse.Namespace) -> Any:
    """take away all hosts and the mirror; images, content and caches stay"""
    removed = clean_lab(lab)
    if arguments.all:
        shutil.rmtree(lab.directory)
    return {"removed": removed}


def status(lab: Lab, _: argparse.Namespace) -> Any:
    """the mirror and the hosts; starts nothing"""
    return {
        "lab": str(lab.directory),
        "mirror": {"url": mirror_client(lab).base_url, "pid": running_pid(lab)},
        "hosts": [describe(host) for name in known_names(lab) if (host := find_host(lab, name))],
    }


def mirror(lab: Lab, _: argparse.Namespace) -> Any:
    """be the lab's mirror, in the foreground"""
    serve(lab)


def offer(lab: Lab, arguments: argparse.Namespace) -> Any:
    """build the content that is missing, start the mirror, and tell what an embedded node is to be given"""
    from tests.lab.offer import make_offer

    return make_offer(lab, bootable=arguments.bootable)


def packages(_: Lab, __: argparse.Namespace) -> Any:
    """the apt packages that the lab needs"""
    return list(system_packages())


def clean_lab(lab: Lab) -> list[str]:
    """Take away all hosts and the mirror; returns the hosts' names."""
    names = known_names(lab)
    for name in names:
        remove_host(lab, name)
    remove_interfaces(lab)
    stop_mirror(lab)
    remove_unfinished(lab.images)
    return names


def describe(host: LabHost) -> dict[str, Any]:
    """All that a client needs to reach the host and what it may be given as mirrors."""
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
        "mirrors": mirror_urls(host.lab),
        "files": {
            "url": f"{https_url(host.lab)}/files",
            "directory": str(host.lab.files),
            "ca": str(host.lab.tls / "ca.pem"),
        },
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description=__doc__)
    parser.add_argument("--lab", type=Path, help="the lab's folder (default: $LOCALAI_LAB_DIR or .lab)")
    commands = parser.add_subparsers(dest="command", required=True)
    for action in (prepare, image, clean, status, mirror, offer, packages):
        command = commands.add_parser(action.__name__, help=action.__doc__)
        command.set_defaults(action=action)
        if action is clean:
            command.add_argument("--all", action="store_true", help="also images, content and caches")
        if action is offer:
            command.add_argument("--bootable", action="store_true", help="VMs have a disk to boot from")
    for action in (up, down):
        command = commands.add_parser(action.__name__, help=action.__doc__)
        command.add_argument("name")
        command.set_defaults(action=action)
        if action is up:
            command.add_argument("--sudo", choices=("nopasswd", "password", "none"), default="nopasswd")
            command.add_argument("--suite", choices=SUITES, default=SUITES[0])
    return parser


def main() -> int:
    """Run one command; its result is JSON on stdout."""
    arguments = _parser().parse_args()
    try:
        result = arguments.action(open_lab(arguments.lab), arguments)
    except (LabError, MachineError) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    if result is not None:
        print(json.dumps(result, indent=2, default=str))
    return 0


if __name__ == "__main__":
    sys.exit(main())
