"""Begin an inventory: what a person says of their machines becomes files; nothing is ever overwritten."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localai_deploy.domain.connection import check_host_name, parse_destination
from localai_deploy.domain.settings import BY_NAME, suggestion
from localai_deploy.domain.vm_settings import NODE_SETTINGS
from localai_deploy.errors import InputError
from localai_deploy.yaml_text import dump_block, dump_yaml

_HOSTS = """---
# An Ansible inventory for localai-deploy; all of it is yours. Values of one machine are in host_vars,
# values of several in group_vars. All variables with their meaning: localai-deploy config show -i DIR
"""
_NODE = """---
# How the node's API is reached. `localai-deploy node permissions {name}` prints what makes the token; its
# secret does not belong in here: set PROXMOX_TOKEN_SECRET, or keep it vaulted beside this file.
{variables}# Whom to trust: the certificate itself, as the node's own console prints it
#   openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem
# localai_proxmox_fingerprint: AA:BB:…
"""
_SSH = """---
{variables}# As the host's own console prints it: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
# localai_host_key: SHA256:…
"""
_ALL = """---
# What holds for all hosts; host_vars win.
{variables}"""
_GROUPS = frozenset({"all", "ungrouped", "inference", "proxmox_nodes", "proxmox_vms", "bare_metal", "wsl"})
_TOKEN = {"localai_proxmox_user": "localai@pve", "localai_proxmox_token_id": "localai"}


@dataclass(frozen=True, slots=True)
class NewInventory:
    """Machines by name, as a person names them.

    :param nodes: Proxmox node → address of its API.
    :param vms: VM that is to be made → node.
    :param cards: VM → the card that it gets (as ``--gpu`` takes it).
    :param bare_metal: host that is there → ``USER@HOST`` or ``localhost``.
    :param wsl: WSL distribution → the same.
    :param model: reference of the model that all hosts serve.
    """

    nodes: Mapping[str, str] = field(default_factory=dict)
    vms: Mapping[str, str] = field(default_factory=dict)
    cards: Mapping[str, str] = field(default_factory=dict)
    bare_metal: Mapping[str, str] = field(default_factory=dict)
    wsl: Mapping[str, str] = field(default_factory=dict)
    model: str = ""

    @property
    def hosts(self) -> list[str]:
        """Where something will be installed."""
        return [*self.vms, *self.bare_metal, *self.wsl]


def new_files(wanted: NewInventory) -> dict[str, str]:
    """Path below the inventory → text.

    :raises InputError: ``host-missing``, ``host-name-invalid``, ``inventory-name-twice``, and:
        ``setting-invalid``, ``model-reference-invalid``, ``node-unknown``.
    """
    _check(wanted)
    files = {"hosts.yml": _HOSTS + dump_block(_groups(wanted))}
    if wanted.model:
        variables = dump_block({"localai_models": [wanted.model]})
        files["group_vars/inference.yml"] = _ALL.format(variables=variables)
    for name, address in wanted.nodes.items():
        variables = dump_block({"localai_proxmox_host": address, **_TOKEN})
        files[_main(name)] = _NODE.format(name=name, variables=variables)
    for name, node in wanted.vms.items():
        card = {"localai_gpu": wanted.cards[name]} if name in wanted.cards else {}
        files[_main(name)] = dump_yaml({"localai_node": node, **card})
    for name, destination in (*wanted.bare_metal.items(), *wanted.wsl.items()):
        files[_main(name)] = _of_host(destination)
    return files


def _main(name: str) -> str:
    return f"host_vars/{name}/main.yml"


def _groups(wanted: NewInventory) -> dict[str, Any]:
    children = {"proxmox_vms": wanted.vms, "bare_metal": wanted.bare_metal, "wsl": wanted.wsl}
    inference = {group: _members(hosts) for group, hosts in children.items() if hosts}
    nodes = {"proxmox_nodes": _members(wanted.nodes)} if wanted.nodes else {}
    return {**nodes, "inference": {"children": inference}}


def _members(names: Mapping[str, str]) -> dict[str, Any]:
    return {"hosts": {name: dict[str, str]() for name in names}}


def _of_host(destination: str) -> str:
    connection = parse_destination(destination)
    if connection.kind == "local":
        return dump_yaml({"ansible_connection": "local"})
    user = {"ansible_user": connection.user} if connection.user else {}
    return _SSH.format(variables=dump_block({"ansible_host": connection.destination, **user}))


def _check(wanted: NewInventory) -> None:
    if not wanted.hosts:
        raise InputError(
            "host-missing",
            "the inventory would have no host to install something on",
            hint="name one: --bare-metal nas=admin@192.0.2.10, --wsl desktop=localhost, or --vm llm=NODE",
        )
    names = [*wanted.nodes, *wanted.hosts]
    for name in names:
        check_host_name(name)
        if names.count(name) > 1 or name in _GROUPS:
            raise InputError(
                "inventory-name-twice",
                f"{name} would be there twice",
                why="nodes, VMs, hosts and groups of an inventory have different names",
                hint="give one of them another name",
            )
    _check_references(wanted)
    _check_values(wanted)


def _check_references(wanted: NewInventory) -> None:
    for vm, node in wanted.vms.items():
        if node not in wanted.nodes and node != "sandbox":
            raise InputError(
                "node-unknown",
                f"VM {vm} is to be on node {node}, of which nobody says where it is",
                why=suggestion(node, wanted.nodes),
                hint=f"--node {node}=ADDRESS",
            )
    for vm in wanted.cards:
        if vm not in wanted.vms:
            raise InputError(
                "node-unknown",
                f"a card is to go to {vm}, which is none of the VMs",
                why=suggestion(vm, wanted.vms),
                hint=f"--vm {vm}=NODE",
            )


def _check_values(wanted: NewInventory) -> None:
    if wanted.model:
        BY_NAME["localai_models"].check("localai_models", [wanted.model])
    of_nodes = {setting.name: setting for setting in NODE_SETTINGS}
    for address in wanted.nodes.values():
        of_nodes["localai_proxmox_host"].check("localai_proxmox_host", address)
    for card in wanted.cards.values():
        BY_NAME["localai_gpu"].check("localai_gpu", card)
    for destination in (*wanted.bare_metal.values(), *wanted.wsl.values()):
        parse_destination(destination)


def require_new(directory: Path) -> None:
    """Make sure that nothing is there yet, not even an empty inventory.

    :raises InputError: ``inventory-exists``.
    """
    if directory.is_symlink() or (directory.exists() and not _is_empty(directory)):
        raise InputError(
            "inventory-exists",
            f"{directory} is there already",
            why="an inventory is begun once; afterwards its files are yours",
            hint=f"name a new directory, or go on with this one: localai-deploy config check -i {directory}",
        )


def _is_empty(directory: Path) -> bool:
    return directory.is_dir() and not any(directory.iterdir())


def write_new(directory: Path, files: Mapping[str, str]) -> None:
    """Write all files at once: the directory is there as a whole, or not at all.

    :raises InputError: ``inventory-exists``.
    """
    require_new(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-") as scratch:
        whole = Path(scratch) / "inventory"
        for name, text in files.items():
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            (whole / name).write_text(text, encoding="utf-8")
        try:
            whole.rename(directory)
        except OSError:
            require_new(directory)
            raise
