"""Ask Ansible's own reader what an inventory says, in a process of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from localai_deploy.domain.settings import suggestion
from localai_deploy.errors import InputError
from localai_deploy.inventory.sources import Sources, find_broken_file

INFERENCE_GROUP = "inference"
NODES_GROUP = "proxmox_nodes"
VMS_GROUP = "proxmox_vms"
_VAULT_HINT = "give the vault's password: --vault-password-file FILE, or ANSIBLE_VAULT_PASSWORD_FILE"
_PLUGIN_FAILED = re.compile(
    r"^\[WARNING\]: Failed to parse inventory with 'auto' plugin: (.+)$", re.MULTILINE
)
"""Why a dynamic inventory could not be asked; Ansible's error only says that it could not."""


def known_names(inventory: Path, vault_password_file: Path | None = None) -> frozenset[str]:
    """All hosts and groups of an inventory.

    :raises InputError: ``inventory-unreadable``.
    """
    return frozenset(ask(None, [inventory], vault_password_file, wants_nodes=False)["known"])


def shown(sources: Sequence[Path]) -> str:
    """Inventories as messages name them."""
    return ", ".join(map(str, sources))


def ask(
    names: Sequence[str] | None,
    sources: Sequence[Path],
    vault_password_file: Path | None,
    *,
    limit: str = "",
    makes_vms: bool = False,
    wants_nodes: bool = True,
) -> dict[str, Any]:
    """What :func:`localai_deploy.inventory.reader.read_inventory` answers; its process has Ansible's secrets.

    A file that cannot be read is an error; Ansible itself would go on without its hosts.

    :param names: patterns; ``None`` for no hosts at all.
    :param makes_vms: names that nobody knows are VMs that are made.
    :raises InputError: ``inventory-unreadable``.
    """
    _refuse_nothing(sources)
    question = {
        "inventories": [str(path) for path in sources],
        "patterns": list(names or ()),
        "limit": limit,
        "wants_hosts": names is not None,
        "wants_nodes": wants_nodes,
        "default_group": INFERENCE_GROUP,
        "nodes_group": NODES_GROUP,
        "gateway_group": "gateway",
        "makes_vms_in": [VMS_GROUP, INFERENCE_GROUP, "all"] if makes_vms else [],
        "vault_password_file": str(vault_password_file or ""),
        "vaulted": [str(file.path) for _, _, file in Sources(sources).of_variables() if file.is_vaulted],
    }
    done = subprocess.run(
        [sys.executable, "-m", "localai_deploy.inventory.reader"],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"},
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {"error": done.stderr.strip().splitlines()[-1:] or ["Ansible printed nothing"]}
    if "error" in answer:
        place = next(filter(None, map(find_broken_file, sources)), "")
        why = f"{place}: {answer['error']}" if place else str(answer["error"])
        why += "".join(f"\n{reason}" for reason in _PLUGIN_FAILED.findall(done.stderr))
        hint = _VAULT_HINT if "vault" in why.lower() else ""
        raise InputError(
            "inventory-unreadable", f"inventory {shown(sources)} cannot be read", why=why, hint=hint
        )
    return dict(answer)


def _refuse_nothing(sources: Sequence[Path]) -> None:
    for path in sources:
        if not path.exists() or (path.is_dir() and not any(one.is_file() for one in path.iterdir())):
            lack = "has no file that lists hosts" if path.exists() else "does not exist"
            raise InputError(
                "inventory-unreadable",
                f"inventory {path} {lack}",
                hint=f"correct --inventory, or begin one: localai-deploy init {path}",
            )


def refuse_strangers(strangers: Sequence[str], known: Sequence[str], sources: Sequence[Path]) -> None:
    """Refuse a plain name, also one within a pattern, that is neither a host nor a group.

    :raises InputError: ``host-not-in-inventory``.
    """
    for name in strangers:
        raise InputError(
            "host-not-in-inventory",
            f"{name!r} is neither a host nor a group of {shown(sources)}",
            why=suggestion(name, known),
            hint="`config show` lists the hosts; without --inventory a name is an SSH destination",
        )


def refuse_nodes(names: Sequence[str], nodes: Sequence[Mapping[str, Any]]) -> None:
    """A node is none of the hosts that something is installed on, unless it is in ``inference`` too.

    :raises InputError: ``host-is-node``.
    """
    for node in nodes:
        if node["name"] in names and INFERENCE_GROUP not in node["groups"]:
            raise InputError(
                "host-is-node",
                f"{node['name']} is a Proxmox node, no host to install something on",
                why=f"the inventory has it in group {NODES_GROUP}",
                hint=f"name a VM on it: --node {node['name']} --name NAME",
            )
