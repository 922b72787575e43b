"""``verify``: the checks alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from localai_deploy.cli.bench_view import bench_lines
from localai_deploy.cli.check_view import CheckLines, verdict
from localai_deploy.cli.failure import error_lines
from localai_deploy.cli.options import existing_hosts_from, host_options
from localai_deploy.cli.output import error_data, print_json
from localai_deploy.cli.progress import RunProgress, say
from localai_deploy.cli.terminal import show, width_of
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.verifier.report import CheckResult, Report
from localai_deploy.workflow import deploy as workflow
from localai_deploy.workflow.observe import PlannedHost
from localai_deploy.workflow.recorded import recorded_hosts
from localai_deploy.workflow.together import Answer


@click.command(epilog="Example: localai-deploy verify admin@192.0.2.10 --junit report.xml")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@host_options
@click.option(
    "--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write the results as JUnit XML too."
)
@click.option("--bench", is_flag=True, help="Measure speed, memory and energy too; takes minutes.")
def verify(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Check HOST against its deployment record (and the inventory, if given): exit 4 on a failure."""
    wanted = existing_hosts_from(hosts, options)
    if not wanted:
        raise _nothing_there(options["node"])
    as_json, junit = options["output"] == "json", options["junit"]
    if junit:
        junit.open("a").close()
    with ExitStack() as stack:
        targets = workflow.open_targets(wanted, stack, say)
        answers = recorded_hosts(wanted, targets, say)
        planned = [one.value for one in answers if one.value]
        report = _check(planned, as_json=as_json, measure=options["bench"])
    if junit:
        junit.write_text(report.junit_xml(), encoding="utf-8")
    if as_json:
        _print_data(report, answers)
    else:
        _print_verdicts(report, answers)
    return _exit_code(report, answers)


def _nothing_there(node: str) -> LocalaiError:
    return LocalaiError(
        "vm-missing",
        f"no VM of ours is on node {node}",
        why="without one nothing can be proven",
        hint=f"localai-deploy up --node {node} --name NAME makes one",
    )


def _check(planned: Sequence[PlannedHost], *, as_json: bool, measure: bool) -> Report:
    if not planned:
        return Report(())
    lines = CheckLines([one.host.name for one in planned], width_of(sys.stdout))
    with RunProgress() as progress:

        def tell(result: CheckResult) -> None:
            if not as_json:
                progress.keep(lines.of(result), show)

        return workflow.verify(planned, tell, progress.check_progress, measure=measure)


def _exit_code(report: Report, answers: Sequence[Answer[PlannedHost]]) -> int:
    errors = [one.error for one in answers if one.error]
    if errors and len(errors) == len(answers):
        return int(errors[0].exit_code)
    if not report.passed:
        return int(ExitCode.VERIFICATION_FAILED)
    return int(ExitCode.PARTIAL if errors else ExitCode.DONE)


def _print_data(report: Report, answers: Sequence[Answer[PlannedHost]]) -> None:
    data = report.to_data()
    missing = [
        {"host": one.host.name, "passed": False, "error": error_data(one.error)}
        for one in answers
        if one.error
    ]
    print_json(
        "verify",
        passed=data["passed"] and not missing,
        counts=data["counts"],
        hosts=[*data["hosts"], *missing],
    )


def _print_verdicts(report: Report, answers: Sequence[Answer[PlannedHost]]) -> None:
    width = width_of(sys.stdout)
    for one in answers:
        name = one.host.name
        proven = [*bench_lines(report, name), *verdict(report, name)]
        for line in error_lines(one.error, width) if one.error else proven:
            show(line)
