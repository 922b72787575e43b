"""Options that commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from localai_deploy.domain.settings import Sourced
from localai_deploy.errors import InputError
from localai_deploy.inventory import InventoryHost, Overrides, load_hosts

Command = TypeVar("Command", bound=Callable[..., Any])

_FLAG_SETTINGS = {
    "model": "localai_models",
    "runtime": "localai_runtime",
    "gpu": "localai_gpu",
    "context": "localai_context_length",
    "parallel": "localai_parallel",
    "bind": "localai_bind",
    "port": "localai_port",
    "accept_host_key": "localai_host_key",
    "trust_first_download": "localai_trust_first_download",
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


def host_options(command: Command) -> Command:
    """What every command takes that reaches hosts."""
    for option in (
        click.option(
            "-K", "--ask-become-pass", is_flag=True, help="Ask for the sudo password on the terminal."
        ),
        click.option(
            "--accept-host-key",
            metavar="SHA256:…",
            help="Accept this SSH host key, and no other, if unknown.",
        ),
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
            help="Ansible inventory (directory or file); without one, HOST is an SSH destination.",
        ),
    ):
        command = option(command)
    return output_option(command)


def deployment_options(command: Command) -> Command:
    """What is wanted of a deployment; each flag wins over the inventory."""
    for option in (
        click.option("--update", is_flag=True, help="Take newer packages and model revisions than recorded."),
        click.option(
            "--trust-first-download",
            is_flag=True,
            default=None,
            help="Accept an https model without a hash; its first download's hash is recorded.",
        ),
        click.option("--port", type=int, help="TCP port of the API. [default: 8080]"),
        click.option("--bind", help="Address of the API. [default: 127.0.0.1]"),
        click.option("--parallel", type=int, help="Requests served at once. [default: 1]"),
        click.option("--context", type=int, help="Tokens of context, all slots together. [default: 4096]"),
        click.option("--gpu", help="Card that computes; only `none` so far. [default: none]"),
        click.option("--runtime", help="Inference runtime. [default: llama_cpp]"),
        click.option(
            "--model", metavar="REF", help="Model: hf:ORG/REPO/FILE, https://…#sha256=…, file:PATH."
        ),
    ):
        command = option(command)
    return command


def yes_option(command: Command) -> Command:
    """``--yes``."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask before changing anything.")(command)


def hosts_from(names: tuple[str, ...], options: Mapping[str, Any]) -> list[InventoryHost]:
    """The hosts that arguments and options of a command stand for."""
    password = _ask_password() if options.get("ask_become_pass") else ""
    overrides = Overrides(_flag_settings(options), password)
    return load_hosts(names, options.get("inventory"), overrides, options.get("vault_password_file"))


def _flag_settings(options: Mapping[str, Any]) -> dict[str, Sourced]:
    return {
        setting: Sourced(options[name], f"flag --{name.replace('_', '-')}")
        for name, setting in _FLAG_SETTINGS.items()
        if options.get(name) is not None
    }


def _ask_password() -> str:
    import sys

    if not sys.stdin.isatty():
        raise InputError(
            "not-a-terminal",
            "--ask-become-pass needs a terminal",
            hint="in scripts: put ansible_become_password into a vaulted inventory file",
        )
    return str(click.prompt("sudo password", hide_input=True, err=True))


def confirm(question: str, *, yes: bool) -> bool:
    """Ask on the terminal unless ``yes``.

    :raises InputError: ``confirmation-needed`` when nobody can answer.
    """
    import sys

    if yes:
        return True
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        raise InputError(
            "confirmation-needed",
            "nobody can be asked: this is not a terminal",
            hint="look at the plan above and run again with --yes",
        )
    return click.confirm(question, default=False, err=True)
