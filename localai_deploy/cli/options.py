"""Options that commands share, and what they stand for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from localai_deploy.cli.completion import complete_reference
from localai_deploy.cli.node_trust import warn_of_insecure
from localai_deploy.cli.run_options import limit_option
from localai_deploy.domain.settings import BY_NAME, Sourced
from localai_deploy.errors import ExitCode, InputError, LocalaiError

if TYPE_CHECKING:
    from localai_deploy.domain.pve.credentials import NodeConnection
    from localai_deploy.inventory.specs import InventoryHost, Overrides

Command = TypeVar("Command", bound=Callable[..., Any])

_DEFAULT_VM = "localai"
_FLAG_SETTINGS = {
    "model": "localai_models",
    "runtime": "localai_runtime",
    "gpu": "localai_gpu",
    "gpu_accept": "localai_gpu_accept",
    "context": "localai_context_length",
    "parallel": "localai_parallel",
    "gpu_layers": "localai_gpu_layers",
    **{name: f"localai_{name}" for name in ("cache_type_k", "cache_type_v", "flash_attention", "ubatch")},
    "bind": "localai_bind",
    "port": "localai_port",
    "accept_host_key": "localai_host_key",
    "trust_first_download": "localai_trust_first_download",
    "node": "localai_node",
    "cores": "localai_cores",
    "memory": "localai_memory_mib",
    "disk": "localai_disk_gib",
    "image": "localai_image",
    "vm_storage": "localai_vm_storage",
    "image_storage": "localai_image_storage",
    "seed_storage": "localai_seed_storage",
    "bridge": "localai_bridge",
    "vlan": "localai_vlan",
    "address": "localai_address",
    "gateway": "localai_gateway",
    "ssh_key": "localai_ssh_key",
}
"""Parameter of a command → the setting it overrides."""


def output_option(command: Command) -> Command:
    """``-o text|json``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="Format of the result on stdout; progress goes to stderr.",
    )(command)


def node_options(command: Command) -> Command:
    """What every command takes that reads an inventory or asks nodes."""
    for option in (
        click.option("--insecure", is_flag=True, help="Do NOT verify the TLS certificate of a Proxmox node."),
        click.option(
            "--vault-password-file",
            envvar="ANSIBLE_VAULT_PASSWORD_FILE",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Password of the inventory's vaulted values.",
        ),
        click.option(
            "-i",
            "--inventory",
            envvar="LOCALAI_DEPLOY_INVENTORY",
            type=click.Path(path_type=Path),
            multiple=True,
            help="Ansible inventory (directory or file), or several: later ones win. Without one, HOST is an "
            "SSH destination.",
        ),
    ):
        command = option(command)
    return output_option(command)


def host_options(command: Command) -> Command:
    """What every command takes that reaches hosts."""
    for option in (
        limit_option,
        click.option(
            "-K", "--ask-become-pass", is_flag=True, help="Ask for the sudo password on the terminal."
        ),
        click.option(
            "--accept-host-key",
            metavar="SHA256:…",
            help="Accept this SSH host key, and no other, if unknown.",
        ),
        click.option(
            "--node",
            metavar="N",
            help="HOST is a VM on this Proxmox node: an entry of the inventory's proxmox_nodes, `sandbox`, "
            "or the one at PROXMOX_HOST.",
        ),
    ):
        command = option(command)
    return node_options(command)


def deployment_options(command: Command) -> Command:
    """What is wanted of a deployment; each flag wins over the inventory."""
    for option in (
        click.option("--update", is_flag=True, help="Take newer packages and model revisions than recorded."),
        _setting("--trust-first-download", is_flag=True, default=None),
        _setting("--port", type=int),
        _setting("--bind", metavar="ADDRESS"),
        _setting("--parallel", type=int),
        _setting("--ubatch", type=int),
        _setting("--flash-attention", metavar="on|off"),
        *(_setting(f"--cache-type-{part}", metavar="TYPE") for part in "vk"),
        _setting("--gpu-layers", metavar="N|all|auto"),
        _setting("--context", type=int),
        _setting("--runtime"),
        click.option(
            "--model",
            metavar="REF",
            shell_complete=complete_reference,
            help="Model to serve: a name (model catalogue), hf:ORG/REPO/FILE[@REVISION], hf:ORG/REPO (its "
            "quantisation is chosen), https://…#sha256=… or file:PATH.",
        ),
    ):
        command = option(command)
    return command


def vm_options(command: Command) -> Command:
    """How a VM is made; each flag wins over the inventory."""
    for option in (
        _setting("--ssh-key", metavar="PATH"),
        _setting("--gateway", metavar="ADDRESS"),
        _setting("--address", metavar="ADDRESS/PREFIX"),
        _setting("--vlan", type=int, metavar="TAG"),
        _setting("--bridge", metavar="NAME"),
        _setting("--seed-storage", metavar="NAME"),
        _setting("--image-storage", metavar="NAME"),
        _setting("--vm-storage", metavar="NAME"),
        _setting("--image", metavar="NAME|URL"),
        _setting("--disk", type=int, metavar="GIB"),
        _setting("--memory", type=int, metavar="MIB"),
        _setting("--cores", type=int),
        click.option("--strict", is_flag=True, help="What nobody can look at blocks the plan, too."),
        _setting("--gpu-accept", metavar="ID[,ID]…"),
        _setting("--gpu", metavar="CARD[,CARD]…"),
        click.option(
            "--name", metavar="NAME", help="With --node: the VM's name, as HOST.  [default: localai]"
        ),
    ):
        command = option(command)
    return command


def _setting(flag: str, **attributes: Any) -> Callable[[Command], Command]:  # noqa: ANN401
    """A flag that sets one host variable: the variable's own meaning and default are its help."""
    setting = BY_NAME[_FLAG_SETTINGS[flag.removeprefix("--").replace("-", "_")]]
    shown = "none" if setting.default == () else setting.default
    default = f" [default: {shown}]" if shown not in {"", False} else ""
    meaning = setting.meaning[0].upper() + setting.meaning[1:]
    return click.option(flag, help=f"{meaning}.{default}", **attributes)


def yes_option(command: Command) -> Command:
    """``--yes``."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask before changing anything.")(command)


def verbose_option(command: Command) -> Command:
    """``--verbose``."""
    return click.option("-v", "--verbose", is_flag=True, help="Show every task.")(command)


def hosts_from(
    names: tuple[str, ...], options: Mapping[str, Any], *, only_shown: bool = False
) -> list[InventoryHost]:
    """The hosts that arguments and options of a command stand for; see :func:`load_hosts`."""
    from localai_deploy.inventory.specs import load_hosts

    names = _vm_names(names, options)
    place = options.get("inventory"), overrides_of(options), options.get("vault_password_file")
    hosts = load_hosts(names, *place, limit=options.get("limit", ""), only_shown=only_shown)
    warn_of_insecure(host.vm.node for host in hosts if host.vm)
    return hosts


def overrides_of(options: Mapping[str, Any]) -> Overrides:
    """What the flags of a command say for every host."""
    from localai_deploy.inventory.specs import Overrides

    password = _ask_password() if options.get("ask_become_pass") else ""
    return Overrides(_flag_settings(options), password, insecure=bool(options.get("insecure")))


def existing_hosts_from(names: tuple[str, ...], options: Mapping[str, Any]) -> list[InventoryHost]:
    """The same for commands about what is there: a node alone stands for all VMs of ours on it."""
    if names or not options.get("node"):
        return hosts_from(names, options)
    from localai_deploy.cli.progress import say
    from localai_deploy.workflow.owned import owned_names

    found = owned_names(node_from(options["node"], options), say)
    return hosts_from(tuple(found), options) if found else []


def node_from(name: str, options: Mapping[str, Any]) -> NodeConnection:
    """The node that a command works on: an entry of its inventory, the sandbox, or the environment's."""
    from localai_deploy.inventory.specs import load_nodes

    insecure = bool(options.get("insecure"))
    nodes = load_nodes(options.get("inventory"), options.get("vault_password_file"), insecure=insecure)
    connection = nodes.connection(name)
    warn_of_insecure([connection])
    return connection


def _vm_names(names: tuple[str, ...], options: Mapping[str, Any]) -> tuple[str, ...]:
    """``--name`` names the one VM that ``up`` makes; without any name it is called after us."""
    if "name" not in options:
        return names
    if options["name"] and not options["node"]:
        raise InputError(
            "usage", "--name is for VMs: it needs --node", hint="name the node, or leave it away"
        )
    if options["name"]:
        return (*names, options["name"])
    return names or (_DEFAULT_VM,) if options["node"] and not options.get("inventory") else names


def host_from(name: str, options: Mapping[str, Any]) -> InventoryHost:
    """The one host of a command that works on one.

    :raises InputError: ``one-host-only`` when ``name`` stands for several.
    """
    found = hosts_from((name,), options)
    if len(found) > 1:
        raise InputError(
            "one-host-only",
            f"{name!r} stands for {len(found)} hosts",
            why="this command works on one host at a time",
            hint=f"name one of them: {', '.join(host.name for host in found)}",
        )
    return found[0]


def _flag_settings(options: Mapping[str, Any]) -> dict[str, Sourced]:
    return {
        setting: Sourced(options[name], f"flag --{name.replace('_', '-')}")
        for name, setting in _FLAG_SETTINGS.items()
        if options.get(name) is not None
    }


def _ask_password() -> str:
    if not sys.stdin.isatty():
        raise InputError(
            "not-a-terminal",
            "--ask-become-pass needs a terminal",
            hint="in scripts: put ansible_become_password into a vaulted inventory file",
        )
    return str(click.prompt("sudo password", hide_input=True, err=True))


def require_consent(question: str, *, yes: bool) -> None:
    """Ask on the terminal unless ``yes``; returns when the answer is yes.

    :raises InputError: ``confirmation-needed`` when nobody can answer.
    :raises LocalaiError: ``declined`` (exit 1) when the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise InputError(
            "confirmation-needed",
            "nobody can be asked: this is not a terminal",
            hint="look at the plan above and run again with --yes",
        )
    if not click.confirm(question, default=False, err=True):
        raise LocalaiError("declined", "nothing was changed", exit_code=ExitCode.FAILED)
