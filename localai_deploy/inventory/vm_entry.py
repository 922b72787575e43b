"""Texts of the files that an inventory keeps for a VM of ours; reading and writing is elsewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml

from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.guest_access import GuestAccess
from localai_deploy.domain.settings import Sourced
from localai_deploy.yaml_text import Template, dump_block

FILE_NAME = "localai-deploy.yml"
"""Of a host's generated variables, below ``host_vars/HOST``."""
KNOWN_HOSTS = "known_hosts.txt"
"""Ansible takes a file without such a suffix for an inventory."""
MARK = "# Written by localai-deploy"
"""How the first comment of a generated file begins."""

_CONNECTION = "# The connection, for plain Ansible: `localai-deploy inventory refresh` keeps it current.\n"
_HEAD = """---
{mark} for VM {name}. `up --write-inventory` writes it anew, `inventory refresh` only the connection.
# What you set in another file beside it, such as main.yml, wins.
"""
_VMS = """---
{mark}: the VMs that `up --write-inventory` put into this inventory.
# What belongs to one of them is in host_vars; take a line out when its VM is gone for good.
"""
_HOSTS = """---
# An Ansible inventory for localai-deploy. This file is yours: localai-deploy made it once and does not
# change it. VMs that `up --write-inventory` made are in proxmox_vms.yml and host_vars.
{nodes}inference:
  children:
    proxmox_vms:
    bare_metal:
    wsl:
"""
_VAULT = """# The token's secret does not belong in here. Set PROXMOX_TOKEN_SECRET, or keep it vaulted:
#   mkdir -p host_vars/{name} && printf %s "$PROXMOX_TOKEN_SECRET" |
#     ansible-vault encrypt_string --stdin-name localai_proxmox_token_secret > host_vars/{name}/vault.yml
"""
_FLAG = "flag "
_OF_SSH = frozenset({"localai_host_key"})
"""Settings that a VM does not need: its node tells them."""


def kept_settings(name: str, settings: Mapping[str, Sourced]) -> dict[str, Any]:
    """What flags said of a VM, and what an earlier :func:`entry_text` holds, as plain data.

    Paths become absolute: an inventory is used from anywhere.
    """
    own = f"host_vars/{name}/{FILE_NAME}:"
    kept = {key: one.value for key, one in settings.items() if one.source.startswith((_FLAG, own))}
    return {key: _plain(key, value) for key, value in kept.items() if key not in _OF_SSH}


def _plain(key: str, value: Any) -> Any:  # noqa: ANN401 - of any setting
    if key == "localai_models":
        return [_absolute_reference(one) for one in value]
    if key == "localai_ssh_key":
        return _absolute(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value


def _absolute_reference(reference: str) -> str:
    scheme, _, path = reference.partition(":")
    return f"file:{_absolute(path)}" if scheme == "file" and not path.startswith("//") else reference


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def entry_text(name: str, settings: Mapping[str, Any], access: GuestAccess) -> str:
    """Variables of one VM: what it was asked for with, and how it is reached."""
    head = _HEAD.format(mark=MARK, name=name)
    return f"{head}{dump_block(settings)}\n{_CONNECTION}{dump_block(_variables(access))}"


def with_access(name: str, text: str, access: GuestAccess) -> str:
    """The same text with another connection; ``text`` is empty for a VM that has no such file yet."""
    upper, _, _ = (text or f"{_HEAD.format(mark=MARK, name=name)}\n").partition(_CONNECTION)
    return f"{upper}{_CONNECTION}{dump_block(_variables(access))}"


def connection_of_entry(text: str) -> dict[str, str]:
    """The connection's variables as :func:`entry_text` wrote them; empty when they cannot be read."""
    try:
        data = yaml.safe_load(text.partition(_CONNECTION)[2])
    except yaml.YAMLError:
        return {}
    return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else {}


def node_of_entry(text: str) -> str:
    """The node that :func:`entry_text` wrote; empty when there is none."""
    match = re.search(r"^localai_node: (.+)$", text, re.MULTILINE)
    return str(yaml.safe_load(match[1])) if match else ""


def _variables(access: GuestAccess) -> dict[str, Any]:
    key = {"ansible_ssh_private_key_file": access.private_key_file} if access.private_key_file else {}
    return {
        "ansible_host": access.address,
        "ansible_user": access.user,
        **key,
        "ansible_host_key_checking": True,
        "ansible_ssh_common_args": _ssh_common_args(access),
    }


def _ssh_common_args(access: GuestAccess) -> Template:
    """The host's key is looked up in the inventory's own file, wherever the inventory lies."""
    options = (f"HostKeyAlias={access.alias}", "StrictHostKeyChecking=yes", "GlobalKnownHostsFile=/dev/null")
    words = [*access.ssh_args, *(word for option in options for word in ("-o", option))]
    file = f"inventory_dir | replace('%', '%%') ~ '/{KNOWN_HOSTS}\"'"
    return Template(
        f"{_literally(shlex.join(words))} -o {{{{ ('UserKnownHostsFile=\"' ~ {file}) | quote }}}}"
    )


def _literally(text: str) -> str:
    has_mark = any(mark in text for mark in ("{{", "{%", "{#"))
    return f"{{% raw %}}{text}{{% endraw %}}" if has_mark else text


def alias_of(variables: Mapping[str, str]) -> str:
    """The name under which a written connection looks the host's key up."""
    words = variables.get("ansible_ssh_common_args", "").split()
    found = (word.removeprefix("HostKeyAlias=") for word in words if word.startswith("HostKeyAlias="))
    return next(found, "")


def known_hosts_text(text: str, access: GuestAccess, former_alias: str = "") -> str:
    """A known_hosts file in which ``access`` has its one key; all other lines stay as they are."""
    gone = {access.alias, former_alias} - {""}
    kept = [line for line in text.splitlines() if line.partition(" ")[0] not in gone]
    places = [number for number, line in enumerate(text.splitlines()) if line.partition(" ")[0] in gone]
    kept.insert(places[0] if places else len(kept), f"{access.alias} {access.host_key}")
    return "".join(f"{line}\n" for line in kept)


def known_key(text: str, alias: str) -> str:
    """The key that a known_hosts file holds for ``alias``."""
    lines = (line.partition(" ") for line in text.splitlines())
    return next((key for name, _, key in lines if name == alias), "")


def vms_of(text: str) -> list[str]:
    """Hosts of a text that :func:`vms_text` made, whatever group they stand below.

    :raises ValueError: it is not of that shape any more.
    """
    try:
        data = yaml.safe_load(text)
        group = (data.get("inference") or {"children": data})["children"]["proxmox_vms"]
        return sorted((group or {}).get("hosts") or {})
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(str(error)) from error


def vms_text(names: list[str], *, in_inference: bool) -> str:
    """The source that puts VMs into group ``proxmox_vms``."""
    group = {"proxmox_vms": {"hosts": {name: dict[str, str]() for name in sorted(names)}}}
    data: Mapping[str, Any] = {"inference": {"children": group}} if in_inference else group
    return f"{_VMS.format(mark=MARK)}{dump_block(data)}"


def hosts_text(name: str = "", node: NodeConnection | None = None) -> str:
    """The groups of a new inventory, with a node if it is to be one of them."""
    entry = (
        f"proxmox_nodes:\n  hosts:\n{indent(_node_text(name, node), '    ')}" if node else "proxmox_nodes:\n"
    )
    return _HOSTS.format(nodes=entry)


def _node_text(name: str, node: NodeConnection) -> str:
    variables = {
        "localai_proxmox_host": node.host,
        "localai_proxmox_node": node.node if node.node != name else "",
        "localai_proxmox_user": node.token.user,
        "localai_proxmox_token_id": node.token.name,
        "localai_proxmox_fingerprint": node.fingerprint,
        "localai_proxmox_ca_file": _absolute(node.ca_file) if node.ca_file else "",
        "localai_proxmox_guest_ssh_args": list(node.guest_ssh_args),
    }
    known = {key: value for key, value in variables.items() if value}
    return f"{name}:\n{indent(dump_block(known) + _VAULT.format(name=name), '  ')}"
