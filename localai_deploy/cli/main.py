"""The command group: commands are imported only when they run, so that the start stays fast."""

from __future__ import annotations

import errno
import os
import signal
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn, cast

import click

from localai_deploy import __version__
from localai_deploy.cli.failure import show_error, wants_json
from localai_deploy.cli.terminal import accept_any_text, note
from localai_deploy.errors import ExitCode, InputError, LocalaiError

if TYPE_CHECKING:
    from types import FrameType

    from click.shell_completion import CompletionItem

PROGRAM = "localai-deploy"
_NOBODY_LISTENS = (errno.EPIPE, errno.EIO)
"""The reader of a pipe went away, or the terminal was closed."""
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("localai_deploy.cli.init:init", "Begin an inventory: a few questions, or flags."),
    "up": ("localai_deploy.cli.up:up", "Plan, confirm, install, verify: a local AI on a host."),
    "plan": ("localai_deploy.cli.plan:plan", "Show what `up` would do and why; change nothing."),
    "render": ("localai_deploy.cli.render:render", "Write the Ansible project that `up` would run."),
    "verify": ("localai_deploy.cli.verify:verify", "Prove that a deployment works, check by check."),
    "status": ("localai_deploy.cli.status:status", "Show what is ours on hosts and how it is."),
    "down": ("localai_deploy.cli.down:down", "Take away what was installed, and nothing else."),
    "model": ("localai_deploy.cli.model:model", "Pull, list, verify and remove models on hosts."),
    "fit": ("localai_deploy.cli.fit:fit", "Tell what runs on which card, and how fast."),
    "gpu": ("localai_deploy.cli.gpu:gpu", "Tell what cards are and who has them; give them away."),
    "driver": (
        "localai_deploy.cli.driver:driver",
        "Upgrade NVIDIA's driver, take that back, prepare Secure Boot.",
    ),
    "node": ("localai_deploy.cli.node:node", "Give a Proxmox node what our VMs need."),
    "inventory": (
        "localai_deploy.cli.inventory:inventory",
        "Keep an inventory true to what its nodes say.",
    ),
    "sandbox": ("localai_deploy.cli.sandbox:sandbox", "Run an embedded Proxmox node to try things out."),
    "config": ("localai_deploy.cli.config:config", "Show where each value comes from; check an inventory."),
    "doctor": ("localai_deploy.cli.doctor:doctor", "Examine nodes and hosts; each finding with its fix."),
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

            near = suggestion(args[0], COMMANDS).capitalize()
            raise click.UsageError(f"No such command '{args[0]}'. {near}".strip(), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command's name from the table, without importing any."""
        from click.shell_completion import CompletionItem

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [
            CompletionItem(name, help=summary)
            for name, (_, summary) in COMMANDS.items()
            if name.startswith(incomplete)
        ]


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: localai-deploy up admin@192.0.2.10 --model hf:ORG/REPO/FILE.gguf",
)
@click.version_option(__version__, prog_name=PROGRAM)
def cli() -> None:
    """From a host that is there to a proven local AI.

    Exit codes: 0 done, 1 failed, 2 input malformed, 3 the world refuses (nothing changed),
    4 verification failed, 5 partial (run it again), 6 held by another run, 130 interrupted.
    """


def main() -> NoReturn:
    """Entry point."""
    accept_any_text()
    end_in_order()
    try:
        code = run(sys.argv[1:])
    except OSError as error:
        if error.errno not in _NOBODY_LISTENS:
            raise
        _silence()
        code = int(ExitCode.FAILED)
    sys.exit(code)


def _silence() -> None:
    """Let Python's last flush go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())


def run(arguments: list[str]) -> int:
    """Run one command line; every expected failure becomes one message and an exit code."""
    try:
        code = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        note(error.format_message())
        return int(ExitCode.MALFORMED)
    except (KeyboardInterrupt, click.Abort):
        return show_error(interrupted(), as_json=wants_json(arguments))
    except (click.ClickException, LocalaiError, OSError) as error:
        return show_error(expected(error), as_json=wants_json(arguments))
    return code if isinstance(code, int) else int(ExitCode.DONE)


def expected(error: click.ClickException | LocalaiError | OSError) -> LocalaiError:
    """The one shape of an error that a user can do something about; anything else is raised again."""
    match error:
        case LocalaiError():
            return error
        case click.UsageError(ctx=click.Context() as context):
            hint = f"{context.command_path} --help shows what it takes"
            return InputError("usage", _one_line(error.format_message()), hint=hint)
        case click.ClickException():
            return InputError("usage", _one_line(error.format_message()))
        case OSError(filename=str() as filename, strerror=str() as reason):
            return LocalaiError("local-file", f"{filename}: {reason}", exit_code=ExitCode.FAILED)
    raise error


def _one_line(message: str) -> str:
    return " ".join(message.split())


def interrupted() -> LocalaiError:
    """What Ctrl-C amounts to."""
    return LocalaiError(
        "interrupted",
        "interrupted",
        hint="the same command goes on from here",
        exit_code=ExitCode.INTERRUPTED,
    )


def end_in_order() -> None:
    """Let a closed terminal and a polite kill end a run as Ctrl-C does: secrets and locks are let go."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt
