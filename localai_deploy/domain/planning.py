"""``make_plan``: a pure function from what is wanted and what is there to steps with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from localai_deploy.domain import paths
from localai_deploy.domain.deployment import Deployment
from localai_deploy.domain.facts import CorruptRecord, HostFacts
from localai_deploy.domain.fit.findings import partial_findings
from localai_deploy.domain.fit.planned import PlannedFit
from localai_deploy.domain.observations import Observation, State, observe_step
from localai_deploy.domain.plan import (
    HOST_STEPS,
    Action,
    Change,
    Finding,
    HostPlan,
    Severity,
    Step,
    StepKind,
)
from localai_deploy.domain.preflight import disk_findings, memory_findings, preflight
from localai_deploy.domain.remains import anything_of_ours
from localai_deploy.domain.spec import HostSpec
from localai_deploy.domain.units import format_bytes
from localai_deploy.domain.wsl.findings import wsl_memory

_ACTION = {
    State.ABSENT: Action.CREATE,
    State.PARTIAL: Action.CHANGE,
    State.DIFFERENT: Action.CHANGE,
    State.PRESENT: Action.KEEP,
}


def make_plan(
    spec: HostSpec,
    facts: HostFacts,
    deployment: Deployment | None,
    problems: Iterable[Finding] = (),
    fit: PlannedFit | None = None,
) -> HostPlan:
    """Plan one host.

    :param deployment: what is wanted, resolved; ``None`` when ``problems`` say why it could not be.
    :param problems: what stood in the way of resolving it, or speaks against it besides.
    :param fit: how the model lies on the host; ``None``: not known, its size alone is looked at.
    """
    findings = (*preflight(spec, facts), *problems)
    if deployment is None:
        return HostPlan(spec.name, (), findings)
    steps = tuple(_step(kind, deployment, facts) for kind in _kinds(deployment.spec))
    memory = partial_findings(fit, spec) if fit else memory_findings(deployment, facts)
    space = (*disk_findings(deployment, facts), *memory, *wsl_memory(deployment, facts, fit))
    return HostPlan(spec.name, steps, (*findings, *space), fit)


def _kinds(spec: HostSpec) -> Iterator[StepKind]:
    """Steps of a host: the driver's only with a card, the gateway's only on its host."""
    absent = {
        *((StepKind.DRIVER,) if spec.driver is None else ()),
        *((StepKind.GATEWAY,) if spec.gateway is None else ()),
    }
    return (kind for kind in HOST_STEPS if kind not in absent)


def _step(kind: StepKind, deployment: Deployment, facts: HostFacts) -> Step:
    seen = observe_step(kind, deployment, facts)
    action = Action.CHECK if kind is StepKind.VERIFY else _ACTION[seen.state]
    return Step(
        kind,
        action,
        _reason(kind, seen, deployment),
        seen.changes,
        reboot=kind is StepKind.DRIVER and action is not Action.KEEP and _takes_reboot(facts),
        destructive=_replaces(kind, seen),
    )


def _takes_reboot(facts: HostFacts) -> bool:
    """Another module holds the card."""
    return facts.nvidia.nouveau or bool(facts.nvidia.module_version)


def _replaces(kind: StepKind, seen: Observation) -> bool:
    """A model of the same name with another content is replaced."""
    return kind is StepKind.MODELS and seen.state is State.DIFFERENT


def _reason(kind: StepKind, seen: Observation, deployment: Deployment) -> str:
    if seen.state is State.PRESENT and kind is not StepKind.VERIFY:
        return seen.evidence
    purpose = _PURPOSE_OF_CHANGE.get(kind) if seen.state is State.DIFFERENT else None
    if kind is StepKind.ENVIRONMENT and deployment.lock.from_archives:
        purpose = _FROM_ARCHIVES
    wanted = (purpose or _PURPOSE[kind]).format(
        packages=len(deployment.lock.packages),
        download=format_bytes(deployment.lock.download_bytes),
        server=f"{deployment.package.name} {deployment.package.version} {deployment.package.build}",
        variant=deployment.spec.variant,
        count=len(deployment.models),
        endpoint=deployment.endpoint,
        gateway=deployment.spec.gateway.endpoint if deployment.spec.gateway else "",
        replicas=len(deployment.spec.gateway.replicas) if deployment.spec.gateway else 0,
    )
    return wanted if kind is StepKind.VERIFY else f"{wanted}: {seen.evidence}"


_PURPOSE = {
    StepKind.PREPARE: "mark the host as ours, add the service user and the few packages needed",
    StepKind.DRIVER: "install NVIDIA's driver for computing, and hold its packages",
    StepKind.ENVIRONMENT: "install {packages} locked packages ({download}) into a conda environment",
    StepKind.RUNTIME: "accept {server} by hash and by running it",
    StepKind.MODELS: "pull {count} model file(s), checked by SHA-256",
    StepKind.SERVICE: "serve on {endpoint} under systemd, with an API key",
    StepKind.GATEWAY: "give requests on {gateway} to {replicas} host(s), without those that are down",
    StepKind.VERIFY: "prove it: service, port, key, model hash, runtime build, a real completion",
}

_FROM_ARCHIVES = (
    "unpack {packages} release archive(s) in place of conda packages, as localai_runtime_archives names them "
    "for {variant}"
)
_PURPOSE_OF_CHANGE = {
    StepKind.PREPARE: "write the new values into the host's record",
    StepKind.SERVICE: "change the service on {endpoint} and start it anew",
    StepKind.GATEWAY: "change the gateway on {gateway} ({replicas} host(s))",
}


def make_removal(name: str, facts: HostFacts, *, purge: bool, unfinished: bool = False) -> HostPlan:
    """Plan ``down``: everything of ours goes, in reverse order; models stay unless ``purge``.

    :param unfinished: a step was begun on the host and never ended, so there may be more than is seen.
    """
    if not unfinished and not anything_of_ours(facts, models_too=purge):
        return HostPlan(name, ())
    steps = [
        *_gateway_removal(facts),
        Step(StepKind.SERVICE, Action.REMOVE, "stop the service; remove its unit and API key"),
        _model_removal(facts, purge=purge),
        Step(StepKind.RUNTIME, Action.REMOVE, "forget the accepted runtime"),
        Step(
            StepKind.ENVIRONMENT,
            Action.REMOVE,
            f"remove the conda environment ({len(facts.installed_packages)} packages) and its tool",
        ),
        *_driver_removal(facts),
        Step(
            StepKind.PREPARE,
            Action.REMOVE,
            "remove the packages and the user that came with us, last our mark",
            _wsl_conf_back(facts),
        ),
    ]
    return HostPlan(name, tuple(steps), _removal_findings(name, facts))


def _wsl_conf_back(facts: HostFacts) -> tuple[Change, ...]:
    if paths.WSL_FILE not in facts.files:
        return ()
    return (
        Change(paths.WSL_CONF, "systemd=true under [boot]", "as it was; Windows reads it at the next start"),
    )


def _driver_removal(facts: HostFacts) -> tuple[Step, ...]:
    if facts.driver is None:
        return ()
    return (Step(StepKind.DRIVER, Action.REMOVE, "remove the driver's packages and its package source"),)


def _gateway_removal(facts: HostFacts) -> tuple[Step, ...]:
    """It goes first, for what it gives requests to is what goes next."""
    if facts.gateway is None:
        return ()
    return (Step(StepKind.GATEWAY, Action.REMOVE, "stop the gateway; remove its unit, environment and keys"),)


def _model_removal(facts: HostFacts, *, purge: bool) -> Step:
    sizes = [(m.file_name, m.size_bytes or m.partial_bytes) for m in facts.models]
    total = format_bytes(sum(size for _, size in sizes))
    if not purge:
        return Step(
            StepKind.MODELS,
            Action.REMOVE,
            f"remove the pull program; {len(sizes)} model file(s) stay in {paths.MODEL_STORE_DIR} ({total})",
        )
    changes = tuple(Change(file_name, format_bytes(size), "") for file_name, size in sizes)
    return Step(
        StepKind.MODELS,
        Action.REMOVE,
        f"delete {len(sizes)} model file(s), {total}",
        changes,
        reversible=False,
        destructive=True,
    )


def _removal_findings(name: str, facts: HostFacts) -> tuple[Finding, ...]:
    if not isinstance(facts.deployment, CorruptRecord):
        return ()
    return (
        Finding(
            "record-unreadable",
            Severity.WARNING,
            f"{paths.DEPLOYMENT_FILE} on {name} cannot be read",
            facts.deployment.reason,
            "what lies in our own directories is removed all the same",
        ),
    )
