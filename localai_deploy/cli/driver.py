"""``driver``: change NVIDIA's driver on a host on purpose."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import click

from localai_deploy.cli.options import host_from, host_options, require_consent, yes_option
from localai_deploy.cli.output import print_json
from localai_deploy.cli.progress import RunProgress, say
from localai_deploy.cli.terminal import show
from localai_deploy.domain.gpu.secure_boot import enrolment_steps
from localai_deploy.workflow import deploy as workflow
from localai_deploy.workflow import driver as drivers
from localai_deploy.workflow.holding import hold
from localai_deploy.workflow.recorded import recorded_host


@click.group(epilog="Example: localai-deploy driver upgrade admin@192.0.2.10")
def driver() -> None:
    """Upgrade NVIDIA's driver on a host, take that back, prepare it for Secure Boot."""


@driver.command(
    short_help="Take the newest driver of the branch that HOST has.",
    epilog="Example: localai-deploy driver upgrade admin@192.0.2.10 --yes",
)
@click.argument("host")
@host_options
@yes_option
def upgrade(host: str, **options: Any) -> None:  # noqa: ANN401
    """Take the newest driver of the branch that HOST has; its packages stay held."""
    _change(host, "upgrade", options)


@driver.command(
    short_help="Go back to the driver from before the upgrade.",
    epilog="Example: localai-deploy driver rollback admin@192.0.2.10 --yes",
)
@click.argument("host")
@host_options
@yes_option
def rollback(host: str, **options: Any) -> None:  # noqa: ANN401
    """Go back to the driver that HOST had before the last upgrade; it stays there until the next."""
    _change(host, "rollback", options)


def _change(name: str, action: str, options: dict[str, Any]) -> None:
    wanted = host_from(name, options)
    with ExitStack() as stack:
        target = workflow.open_targets([wanted], stack, say)[wanted.name]
        hold(target, stack, say)
        planned = recorded_host(wanted, target, say)
        before = drivers.require_driver(planned, action)
        require_consent(_question(wanted.name, action, before), yes=options["yes"])
        with RunProgress() as progress:
            outcome = drivers.change_driver(planned, action, progress)
        if outcome.error:
            raise outcome.error
        after = drivers.installed_driver(target.observe())
    _print(options, wanted.name, action, outcome.changed, before.version, after.version)


def _question(name: str, action: str, there: drivers.InstalledDriver) -> str:
    goal = f"the newest of branch {there.branch}" if action == "upgrade" else there.previous
    return f"Change the driver of {name} from {there.version} to {goal}? It is rebooted if a card uses it."


def _print(
    options: dict[str, Any],
    host: str,
    action: str,
    changed: int,
    before: str = "",
    after: str = "",
    left: str = "",
) -> None:
    if options["output"] == "json":
        print_json(
            "driver",
            host=host,
            action=action,
            changed=changed > 0,
            before=before,
            after=after,
            left_to_do=left,
        )
        return
    if before:
        show(
            f"{host}: driver {before} is there already"
            if not changed
            else f"{host}: driver {before} → {after}"
        )
        show(f"  prove it: localai-deploy verify {host}")
    else:
        show(f"{host}: the key {'is made' if changed else 'was there already'}")
        show(f"  {left or 'Secure Boot is off, or knows the key: nothing is left to do'}")


@driver.command(
    short_help="Make the key that HOST signs modules with, for Secure Boot.",
    epilog="Example: localai-deploy driver key admin@192.0.2.10 --yes",
)
@click.argument("host")
@host_options
@yes_option
def key(host: str, **options: Any) -> None:  # noqa: ANN401
    """Make the key that HOST signs modules with, and say what a person has to do at its console."""
    wanted = host_from(host, options)
    with ExitStack() as stack:
        target = workflow.open_targets([wanted], stack, say)[wanted.name]
        hold(target, stack, say)
        require_consent(f"Make a key for modules on {wanted.name}?", yes=options["yes"])
        with RunProgress() as progress:
            outcome = drivers.make_key(wanted, target, progress)
        if outcome.error:
            raise outcome.error
        facts = target.observe()
    left = enrolment_steps(facts.os_id) if facts.nvidia.secure_boot.refuses_ours else ""
    _print(options, wanted.name, "key", outcome.changed, left=left)
