"""``plan``: what ``up`` would do and why."""

from __future__ import annotations

from typing import Any

import click

from localai_deploy.cli.options import deployment_options, host_options, hosts_from, vm_options
from localai_deploy.cli.plan_view import run_plan
from localai_deploy.cli.run_options import forks_option, tags_option


@click.command(epilog="Example: localai-deploy plan admin@192.0.2.10 --model hf:ORG/REPO/FILE.gguf -o json")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@deployment_options
@vm_options
@host_options
@forks_option
@tags_option
@click.option("--detailed-exitcode", is_flag=True, help="Exit 0: nothing to do, 10: changes.")
def plan(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Show what `up` would do to HOST; nothing is changed. A blocked plan exits with 3."""
    return run_plan(hosts_from(hosts, options), options)
