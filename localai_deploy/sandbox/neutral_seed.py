"""The seed of a guest that is booted to be saved: what a VM's own seed installs, and nobody's identity."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from localai_deploy.sandbox.command import run

_AGENT = "qemu-guest-agent"
_FIRST_LINE = "#cloud-config"
_KEPT = ("apt", "ca_certs", "package_reboot_if_required", "package_update", "package_upgrade")
_NAMES = ("meta-data", "user-data", "network-config")


def read_documents(disc: Path) -> dict[str, str]:
    """Name → text of a seed's documents; raises MachineError when it cannot be read."""
    listed = set(run("bsdtar", "--list", "--file", str(disc)).split())
    return {
        name: run("bsdtar", "--extract", "--to-stdout", "--file", str(disc), name)
        for name in _NAMES
        if name in listed
    }


def neutral_user_data(user_data: str) -> dict[str, Any]:
    """What is to be installed before a guest is saved: the agent, and the packages of ``user-data``.

    The root file system keeps the image's size; there are no users.
    """
    given = _cloud_config(user_data)
    asked = given.get("packages")
    packages = [*asked] if isinstance(asked, list) else []
    return {
        "package_update": True,
        **{key: given[key] for key in _KEPT if key in given},
        "packages": packages if _AGENT in packages else [*packages, _AGENT],
        "users": [],
        "growpart": {"mode": "off"},
        "resize_rootfs": False,
        "runcmd": [["systemctl", "enable", "--now", _AGENT]],
    }


def _cloud_config(user_data: str) -> dict[str, Any]:
    """The document as data; empty for a script or what else a guest may be given."""
    if user_data.split("\n", 1)[0].strip() != _FIRST_LINE:
        return {}
    try:
        found = yaml.safe_load(user_data)
    except yaml.YAMLError:
        return {}
    return found if isinstance(found, dict) else {}


def write_neutral_disc(target: Path, user_data: Mapping[str, Any], network_config: str | None) -> None:
    """A seed disc; raises MachineError. The network's document is the VM's own, for its card is there."""
    documents = {
        "meta-data": "instance-id: saved\nlocal-hostname: localhost\n",
        "user-data": f"{_FIRST_LINE}\n{yaml.safe_dump(dict(user_data))}",
    }
    if network_config is not None:
        documents["network-config"] = network_config
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        for name, text in documents.items():
            Path(folder, name).write_text(text)
        run(
            *("bsdtar", "--create", "--format", "iso9660", "--options", "volume-id=cidata"),
            *("--file", str(target), "--directory", folder, *documents),
        )
