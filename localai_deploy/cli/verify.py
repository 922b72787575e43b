"""``verify``: the checks alone."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from localai_deploy.cli.options import host_options, hosts_from
from localai_deploy.cli.progress import check_line, say
from localai_deploy.errors import ExitCode
from localai_deploy.workflow import deploy as workflow
from localai_deploy.workflow.recorded import recorded_hosts


@click.command(epilog="Example: localai-deploy verify admin@192.0.2.10 --junit report.xml")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@host_options
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Also write a JUnit report.")
def verify(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Check HOST against its deployment record (and the inventory, if given): exit 4 on a failure."""
    wanted = hosts_from(hosts, options)
    as_json = options["output"] == "json"
    with ExitStack() as stack:
        targets = workflow.open_targets(wanted, stack)
        planned = recorded_hosts(wanted, targets, say)
        report = workflow.verify(planned, lambda check: None if as_json else click.echo(check_line(check)))
    if options["junit"]:
        options["junit"].write_text(report.junit_xml(), encoding="utf-8")
    if as_json:
        click.echo(json.dumps({"schema": "localai-deploy/verify/v1", **report.to_data()}, indent=2))
    return int(ExitCode.DONE if report.passed else ExitCode.VERIFICATION_FAILED)
