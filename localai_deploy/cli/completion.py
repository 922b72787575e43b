"""``completion``: the script that gives a shell our completion."""

from __future__ import annotations

import click

from localai_deploy.cli.terminal import show


@click.command(epilog='Example: eval "$(localai-deploy completion bash)"')
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL."""
    from click.shell_completion import get_completion_class

    from localai_deploy.cli.main import PROGRAM, cli

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"no completion for {shell}")
    show(found(cli, {}, PROGRAM, "_LOCALAI_DEPLOY_COMPLETE").source())
