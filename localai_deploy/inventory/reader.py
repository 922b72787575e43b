"""Read an Ansible inventory with Ansible's own code: ``python -m localai_deploy.inventory.reader``.

The question comes as JSON on stdin, the answer (with decrypted values) goes as JSON to a pipe. A
process of its own, because Ansible keeps configuration and vault secrets per process.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

if TYPE_CHECKING:
    from ansible.inventory.group import Group
    from ansible.inventory.host import Host
    from ansible.parsing.dataloader import DataLoader
    from ansible.parsing.vault import VaultLib
    from ansible.template import Templar

CONNECTION_VARIABLES = frozenset(
    {
        "ansible_become_pass",
        "ansible_become_password",
        "ansible_connection",
        "ansible_host",
        "ansible_port",
        "ansible_ssh_common_args",
        "ansible_ssh_private_key_file",
        "ansible_user",
    }
)
"""What of Ansible's own variables says how a host is reached."""


def read_inventory(question: Mapping[str, Any]) -> dict[str, Any]:
    """Hosts that match ``patterns``, with merged variables and their groups, innermost first.

    Plain names that nobody knows are taken for members of the first group of ``makes_vms_in`` that is there.
    """
    from ansible.cli import CLI
    from ansible.errors import AnsibleError
    from ansible.inventory.manager import InventoryManager
    from ansible.parsing.dataloader import DataLoader
    from ansible.parsing.vault import VaultLib
    from ansible.plugins.loader import init_plugin_loader
    from ansible.vars.manager import VariableManager

    init_plugin_loader()
    loader = DataLoader()
    password_files = [question["vault_password_file"]] if question["vault_password_file"] else []
    secrets = CLI.setup_vault_secrets(
        loader, vault_ids=[], vault_password_files=password_files, auto_prompt=False
    )
    loader.set_vault_secrets(secrets)
    manager = InventoryManager(loader=loader, sources=question["inventories"])
    variables = VariableManager(loader=loader, inventory=manager)
    default = question["default_group"] if question["default_group"] in manager.groups else "all"
    known = [*manager.hosts, *manager.groups]
    home = next((group for group in question["makes_vms_in"] if group in manager.groups), None)
    for name in _strangers(question["patterns"], known) if home else ():
        manager.add_host(name, home)
    manager.subset(question["limit"] or None)
    hosts = manager.get_hosts(question["patterns"] or [default]) if question["wants_hosts"] else []
    nodes = manager.groups.get(question["nodes_group"]) if question["wants_nodes"] else None
    gateways = [host.name for host in _members(manager.groups.get(question["gateway_group"]))]
    everyone = manager.get_hosts([default], ignore_limits=True) if gateways else []
    only_nodes = {host.name for host in _members(nodes)} - {
        host.name for host in _members(manager.groups.get(question["default_group"]))
    }

    def described(host: Host) -> dict[str, Any]:
        found = variables.get_vars(host=host, include_hostvars=False)
        groups = sorted(host.get_groups(), key=lambda group: -group.depth)
        try:
            plain = _plain(_rendered(loader, found))
        except AnsibleError as error:
            raise AnsibleError(f"{host.name}: {error.message}") from error
        return {"name": host.name, "groups": [group.name for group in groups], "variables": plain}

    names = [*manager.hosts, *manager.groups]
    return {
        "known": names,
        "strangers": _unmatched([*question["patterns"], question["limit"]], names),
        "hosts": [described(host) for host in hosts if host.name not in only_nodes],
        "gateways": gateways,
        "replicas": [described(host) for host in everyone if host.name not in only_nodes],
        "nodes": [described(host) for host in _members(nodes)],
        "vaulted": {path: _keys_within(VaultLib(secrets), path) for path in question["vaulted"]},
    }


def _keys_within(vault: VaultLib, path: str) -> dict[str, tuple[int, int]]:
    """The names that a vaulted file sets, with line and column in its plain text; none without password."""
    from ansible.errors import AnsibleError

    from localai_deploy.inventory.yaml_file import keys_of

    try:
        text = vault.decrypt(Path(path).read_bytes())
    except AnsibleError:
        return {}
    return keys_of(yaml.compose(text, Loader=yaml.SafeLoader))


def _members(group: Group | None) -> list[Host]:
    return list(group.get_hosts()) if group else []


def _strangers(names: Sequence[str], known: Sequence[str]) -> Iterator[str]:
    """Names that can be a host's and are none of ``known``."""
    from localai_deploy.domain.connection import check_host_name
    from localai_deploy.errors import InputError

    for name in names:
        if name not in known:
            with suppress(InputError):
                check_host_name(name)
                yield name


def _unmatched(patterns: Sequence[str], known: Sequence[str]) -> list[str]:
    """Plain names within patterns, excluded ones too, that are nobody's: Ansible would pass over them."""
    from ansible.inventory.manager import split_host_pattern

    names = (term.lstrip("!&") for term in split_host_pattern(list(filter(None, patterns))))
    return [name for name in names if name not in known and not any(mark in name for mark in "*?[~@")]


def _rendered(loader: DataLoader, variables: dict[str, Any]) -> dict[str, Any]:
    """Our variables and those of the connection, with their Jinja resolved as Ansible would."""
    from ansible.template import Templar

    templar = Templar(loader=loader, variables=variables)
    wanted = (key for key in variables if key.startswith("localai_") or key in CONNECTION_VARIABLES)
    return {key: _resolved(templar, key, variables[key]) for key in wanted}


def _resolved(templar: Templar, name: str, value: object) -> object:
    from ansible.errors import AnsibleError

    try:
        return cast("object", templar.template(value))
    except AnsibleError as error:
        raise AnsibleError(f"{name}: {error.message}") from error


def _plain(value: Any) -> Any:  # noqa: ANN401 - YAML of any shape
    """Ansible's tagged values as plain ones; vaulted ones decrypted."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def main() -> None:
    """Answer one question."""
    from ansible.errors import AnsibleError

    try:
        answer = read_inventory(json.load(sys.stdin))
    except AnsibleError as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
