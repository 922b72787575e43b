"""The command group: commands are imported only when they run, so that the start stays fast."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import cast

import click

from localai_deploy import __version__
from localai_deploy.cli.failure import exit_with_error, wants_json
from localai_deploy.errors import ExitCode, InputError, LocalaiError

COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("localai_deploy.cli.up:up", "Plan, confirm, install, verify: a local AI on a host."),
    "plan": ("localai_deploy.cli.plan:plan", "Show what `up` would do and why; change nothing."),
    "render": ("localai_deploy.cli.render:render", "Write the Ansible project that `up` would run."),
    "verify": ("localai_deploy.cli.verify:verify", "Prove that a deployment works, check by check."),
    "status": ("localai_deploy.cli.status:status", "Show what is ours on hosts and how it is."),
    "down": ("localai_deploy.cli.down:down", "Take away what was installed, and nothing else."),
    "model": ("localai_deploy.cli.model:model", "Pull, list, verify and remove models on hosts."),
    "config": ("localai_deploy.cli.config:config", "Show where each value comes from; check an inventory."),
    "explain": ("localai_deploy.cli.explain:explain", "Explain an error id: cause, detection, fix."),
    "completion": ("localai_deploy.cli.completion:completion", "Print the completion script of a shell."),
}


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """All command names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command's module."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        return cast("click.Command", getattr(import_module(module), attribute))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Suggest the nearest command for a typo."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from localai_deploy.domain.settings import suggestion

            raise click.UsageError(
                f"No such command '{args[0]}'. {suggestion(args[0], COMMANDS)}".strip(), ctx
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: localai-deploy up admin@192.0.2.10 --model hf:ORG/REPO/FILE.gguf",
)
@click.version_option(__version__, prog_name="localai-deploy")
def cli() -> None:
    """From a host that is there to a proven local AI.

    Exit codes: 0 done, 1 failed, 2 input malformed, 3 the world refuses (nothing changed),
    4 verification failed, 5 partial (run it again), 6 held by another run, 130 interrupted.
    """


def main() -> None:
    """Entry point: every expected failure becomes one message and an exit code."""
    arguments = sys.argv[1:]
    try:
        code = cli.main(args=arguments, prog_name="localai-deploy", standalone_mode=False)
    except click.UsageError as error:
        usage = error.ctx.get_usage() if error.ctx else ""
        exit_with_error(
            InputError("usage", error.format_message(), hint=f"{usage}\nhelp: add --help".strip()),
            json_output=wants_json(arguments),
        )
    except LocalaiError as error:
        exit_with_error(error, json_output=wants_json(arguments))
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted; the same command goes on from here", err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(ExitCode.FAILED)
    sys.exit(code if isinstance(code, int) else ExitCode.DONE)
