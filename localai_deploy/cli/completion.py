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


def complete_reference(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Names of the catalogue that begin as a model reference does."""
    from localai_deploy.domain.models.catalogue import BY_NAME

    return [name for name in BY_NAME if name.startswith(incomplete.lower())]
