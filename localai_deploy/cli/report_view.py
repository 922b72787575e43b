"""The report of ``up``: endpoint, key, model, answer and speed, each as it was measured."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from localai_deploy.cli.check_view import verdict
from localai_deploy.cli.failure import error_lines
from localai_deploy.cli.memory_view import memory_data, memory_lines, memory_of
from localai_deploy.cli.output import error_data, print_json
from localai_deploy.cli.plan_view import obstacle, plan_data
from localai_deploy.cli.terminal import hanging, show, width_of
from localai_deploy.domain import paths
from localai_deploy.domain.connection import Connection
from localai_deploy.domain.deployment import Deployment
from localai_deploy.domain.gateway import Gateway
from localai_deploy.domain.spec import HostSpec
from localai_deploy.domain.units import format_bytes
from localai_deploy.domain.wsl.findings import windows_access
from localai_deploy.errors import ExitCode
from localai_deploy.verifier.report import Outcome, Report
from localai_deploy.workflow.apply import HostOutcome
from localai_deploy.workflow.deploy import DeployResult, Looked
from localai_deploy.workflow.observe import PlannedHost


def print_report(looked: Sequence[Looked], result: DeployResult, *, as_json: bool) -> int:
    """Print how ``up`` ended on every host; returns the exit code."""
    code = exit_code(looked, result)
    if as_json:
        print_json("up", exit_code=code, hosts=[_host_data(one, result) for one in looked])
    else:
        for one in looked:
            for line in _host_lines(one, result, width_of(sys.stdout)):
                show(line)
    return code


def exit_code(looked: Sequence[Looked], result: DeployResult) -> int:
    """4 when a check failed, else 5 when a host is missing; when none was begun, why that is."""
    if not result.outcomes:
        stopped = obstacle(looked)
        return int(stopped.exit_code if stopped else ExitCode.FAILED)
    if result.report is not None and not result.report.passed:
        return int(ExitCode.VERIFICATION_FAILED)
    errors = [outcome.error for outcome in result.outcomes.values() if outcome.error]
    if errors and len(errors) == len(looked) and all(e.exit_code is ExitCode.HELD for e in errors):
        return int(ExitCode.HELD)
    failed = bool(errors)
    return int(ExitCode.PARTIAL if failed or len(result.outcomes) < len(looked) else ExitCode.DONE)


def endpoint_data(deployment: Deployment, connection: Connection) -> dict[str, str]:
    """Where the API is and how to get there."""
    return {
        "endpoint": f"{deployment.endpoint}/v1",
        "key_file": paths.API_KEY_FILE,
        "tunnel": tunnel_command(deployment.spec, connection),
    }


def gateway_data(gateway: Gateway | None, connection: Connection) -> dict[str, Any]:
    """The same of the gateway, on its host."""
    if gateway is None:
        return {}
    found = {
        "endpoint": f"{gateway.endpoint}/v1",
        "key_file": paths.GATEWAY_API_KEY_FILE,
        "tunnel": tunnel_command(gateway, connection),
        "replicas": [replica.name for replica in gateway.replicas],
    }
    return {"gateway": found}


def tunnel_command(listening: HostSpec | Gateway, connection: Connection) -> str:
    """The ``ssh -L`` line that brings a loopback API to this machine; empty for this machine itself."""
    if connection.kind == "local":
        return ""
    words = ["ssh", "-N", "-L", f"{listening.port}:{listening.bind}:{listening.port}"]
    words += ["-p", str(connection.port)] if connection.port else []
    words += ["-i", connection.private_key_file] if connection.private_key_file else []
    return shlex.join([*words, *connection.ssh_args, connection.display])


def _host_data(one: Looked, result: DeployResult) -> dict[str, Any]:
    outcome = result.outcomes.get(one.host.name)
    if outcome is None:
        plan = plan_data(one)
        return {key: plan[key] for key in ("host", "error", "blockers") if key in plan}
    data: dict[str, Any] = {"host": one.host.name, "changed_tasks": outcome.changed}
    data |= {"left_over": list(outcome.notes)} if outcome.notes else {}
    if outcome.error:
        return data | {"error": error_data(outcome.error)}
    planned = result.planned.get(one.host.name, one.planned)
    if planned and planned.deployment:
        served = planned.deployment.models[0]
        data |= endpoint_data(planned.deployment, planned.target.connection)
        data |= gateway_data(planned.deployment.spec.gateway, planned.target.connection)
        data["model"] = {"file_name": served.file_name, "sha256": served.sha256}
        windows = windows_access(planned.facts.wsl, planned.deployment.spec.port)
        data |= {"windows": windows} if windows else {}
    if one.host.name in result.written:
        data["inventory"] = str(result.written[one.host.name].resolve())
    if result.report:
        data["verification"] = verification_data(result.report, one.host.name)
        data["completion"] = dict(_completion(result.report, one.host.name))
        memory = memory_of(result.report, one.host.name)
        if memory and planned and planned.plan.fit:
            data["memory"] = memory_data(planned.plan.fit, memory)
    return data


def verification_data(report: Report, host: str) -> dict[str, Any]:
    """One host of the ``verify`` JSON schema."""
    return next(entry for entry in report.to_data()["hosts"] if entry["host"] == host)


def _completion(report: Report, host: str) -> Mapping[str, Any]:
    found = report.find(host, "completion")
    return found.evidence if found and found.outcome is Outcome.PASS else {}


def _host_lines(one: Looked, result: DeployResult, width: int) -> Iterator[str]:
    name = one.host.name
    outcome = result.outcomes.get(name)
    error = one.error or (outcome.error if outcome else None)
    if error:
        yield from error_lines(error, width)
    elif outcome is None:
        yield f"{name}: blocked, nothing was changed (see the plan)"
    else:
        yield from _deployed_lines(result.planned.get(name, one.planned), outcome, result.report, width)
    if name in result.written:
        yield f"  inventory {shlex.join(['ansible', '-i', str(result.written[name]), name, '-m', 'ping'])}"
    for text in outcome.notes if outcome else ():
        yield from hanging(text, first="  left over ", rest=" " * 12, width=width)


def _deployed_lines(
    planned: PlannedHost | None, outcome: HostOutcome, report: Report | None, width: int
) -> Iterator[str]:
    if planned and planned.deployment and report:
        yield from verdict(report, planned.host.name, f"; changed={outcome.changed}")
        yield from _service_lines(planned, planned.deployment)
        yield from _answer_lines(_completion(report, planned.host.name), width)
        memory = memory_of(report, planned.host.name)
        for text in memory_lines(planned.plan.fit, memory) if memory and planned.plan.fit else ():
            yield from hanging(text, first="  memory    ", rest=" " * 12, width=width)
    elif planned and planned.deployment:
        yield f"{planned.host.name}: done, not verified (--tags); changed={outcome.changed}"


def _service_lines(planned: PlannedHost, deployment: Deployment) -> Iterator[str]:
    yield f"  endpoint  {deployment.endpoint}/v1 (on the host itself)"
    tunnel = tunnel_command(deployment.spec, planned.target.connection)
    if tunnel:
        yield f"  from here {tunnel}"
    yield f"  key       sudo cat {paths.API_KEY_FILE} (on the host)"
    if gateway := deployment.spec.gateway:
        yield f"  gateway   {gateway.endpoint}/v1 for {', '.join(one.name for one in gateway.replicas)}"
        yield f"            key: sudo cat {paths.GATEWAY_API_KEY_FILE} (on the host)"
    if windows := windows_access(planned.facts.wsl, deployment.spec.port):
        yield f"  windows   {windows['endpoint']} on this PC; key: {windows['key_command']}"
    model = deployment.models[0]
    digest = model.sha256[:12] or "of the first download"
    yield f"  model     {model.file_name} ({format_bytes(model.size_bytes)}, sha256 {digest})"
    yield f"  runtime   {deployment.package.name} {deployment.package.version} {deployment.package.build}"


def _answer_lines(answer: Mapping[str, Any], width: int) -> Iterator[str]:
    if not answer:
        return
    text = " ".join(str(answer.get("text", "")).split())
    yield from hanging(f"{text[:160]!r}", first="  answer    ", rest=" " * 12, width=width)
    speeds = [
        f"{float(answer[key]):.1f} tokens/s {label}"
        for key, label in (("predicted_per_second", "generation"), ("prompt_per_second", "prompt"))
        if isinstance(answer.get(key), int | float)
    ]
    if speeds:
        measured = f"{', '.join(speeds)} (measured by the runtime, this one answer)"
        yield from hanging(measured, first="  speed     ", rest=" " * 12, width=width)
