"""The report of ``up``: endpoint, key, model, answer and speed, each as it was measured."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from localai_deploy.cli.failure import error_data, error_lines
from localai_deploy.domain import paths
from localai_deploy.domain.connection import Connection
from localai_deploy.domain.deployment import Deployment
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import ExitCode
from localai_deploy.verifier.report import Outcome, Report
from localai_deploy.workflow.deploy import DeployResult, Looked
from localai_deploy.workflow.observe import PlannedHost


def print_report(looked: Sequence[Looked], result: DeployResult, *, as_json: bool) -> int:
    """Print how ``up`` ended on every host; returns the exit code."""
    code = _exit_code(looked, result)
    if as_json:
        hosts = [_host_data(one, result) for one in looked]
        click.echo(
            json.dumps({"schema": "localai-deploy/up/v1", "exit_code": code, "hosts": hosts}, indent=2)
        )
    else:
        for one in looked:
            for line in _host_lines(one, result):
                click.echo(line)
    return code


def _exit_code(looked: Sequence[Looked], result: DeployResult) -> int:
    failed = [outcome.error for outcome in result.outcomes.values() if outcome.error]
    kept_out = [one for one in looked if one.host.name not in result.outcomes]
    if failed or kept_out:
        return int(ExitCode.PARTIAL)
    if result.report is None or not result.report.passed:
        return int(ExitCode.VERIFICATION_FAILED)
    return int(ExitCode.DONE)


def endpoint_data(deployment: Deployment, connection: Connection) -> dict[str, str]:
    """Where the API is and how to get there."""
    return {
        "endpoint": f"{deployment.endpoint}/v1",
        "key_file": paths.API_KEY_FILE,
        "tunnel": tunnel_command(deployment, connection),
    }


def tunnel_command(deployment: Deployment, connection: Connection) -> str:
    """The ``ssh -L`` line that brings a loopback API to this machine; empty for this machine itself."""
    if connection.kind == "local":
        return ""
    spec = deployment.spec
    words = ["ssh", "-N", "-L", f"{spec.port}:{spec.bind}:{spec.port}"]
    words += ["-p", str(connection.port)] if connection.port else []
    words += ["-i", connection.private_key_file] if connection.private_key_file else []
    return shlex.join([*words, *connection.ssh_args, connection.display])


def _host_data(one: Looked, result: DeployResult) -> dict[str, Any]:
    data: dict[str, Any] = {"host": one.host.name}
    outcome = result.outcomes.get(one.host.name)
    if one.error:
        return data | {"error": error_data(one.error)}
    if outcome is None:
        return data | {"blockers": one.planned.plan.to_data()["blockers"] if one.planned else []}
    data["changed_tasks"] = outcome.changed
    if outcome.error:
        return data | {"error": error_data(outcome.error)}
    if one.planned and one.planned.deployment:
        data |= endpoint_data(one.planned.deployment, one.host.connection)
        data["model"] = {
            "file_name": one.planned.deployment.models[0].file_name,
            "sha256": one.planned.deployment.models[0].sha256,
        }
    if result.report:
        data["verification"] = _of_host(result.report, one.host.name).to_data()
        data["completion"] = dict(_completion(result.report, one.host.name))
    return data


def _of_host(report: Report, host: str) -> Report:
    return Report(tuple(check for check in report.results if check.host == host))


def _completion(report: Report, host: str) -> Mapping[str, Any]:
    for check in report.results:
        if check.host == host and check.check_id == "completion" and check.outcome is Outcome.PASS:
            return check.evidence
    return {}


def _host_lines(one: Looked, result: DeployResult) -> Iterator[str]:
    name = one.host.name
    outcome = result.outcomes.get(name)
    error = one.error or (outcome.error if outcome else None)
    if error:
        yield from error_lines(error)
    elif outcome is None:
        yield f"{name}: blocked, nothing was changed"
    elif one.planned and one.planned.deployment and result.report:
        yield from _proof_lines(
            one.planned, one.planned.deployment, _of_host(result.report, name), outcome.changed
        )


def _proof_lines(planned: PlannedHost, deployment: Deployment, report: Report, changed: int) -> Iterator[str]:
    count = {outcome: sum(c.outcome is outcome for c in report.results) for outcome in Outcome}
    tally = f"{count[Outcome.PASS]} passed, {count[Outcome.FAIL]} failed, {count[Outcome.SKIP]} skipped"
    verdict = click.style("proven", fg="green") if report.passed else click.style("NOT proven", fg="red")
    yield f"{planned.host.name}: {verdict} ({tally}; changed={changed})"
    connection = planned.host.connection
    yield f"  endpoint  {deployment.endpoint}/v1 (on the host itself)"
    tunnel = tunnel_command(deployment, connection)
    if tunnel:
        yield f"  from here {tunnel}"
    yield f"  key       {paths.API_KEY_FILE} on the host, readable by root"
    model = deployment.models[0]
    digest = model.sha256[:12] or "of the first download"
    yield f"  model     {model.file_name} ({format_bytes(model.size_bytes)}, sha256 {digest})"
    yield f"  runtime   {deployment.package.name} {deployment.package.version} {deployment.package.build}"
    answer = _completion(report, planned.host.name)
    if answer:
        yield from _answer_lines(answer)


def _answer_lines(answer: Mapping[str, Any]) -> Iterator[str]:
    text = " ".join(str(answer.get("text", "")).split())
    yield f"  answer    {text[:160]!r}"
    speeds = [
        f"{float(answer[key]):.1f} tokens/s {label}"
        for key, label in (("predicted_per_second", "generation"), ("prompt_per_second", "prompt"))
        if isinstance(answer.get(key), int | float)
    ]
    if speeds:
        yield f"  speed     {', '.join(speeds)} (measured by the runtime, this one answer)"
