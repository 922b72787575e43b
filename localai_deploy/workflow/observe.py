"""Look at the world for one host and make its plan; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from localai_deploy.domain.deployment import Deployment
from localai_deploy.domain.facts import CorruptRecord, HostFacts
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.plan import Finding, HostPlan
from localai_deploy.domain.planning import make_plan
from localai_deploy.domain.preflight import PLATFORMS
from localai_deploy.domain.reference import ModelFile, ModelReference, parse_model_reference
from localai_deploy.domain.spec import Choices, HostSpec
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory import InventoryHost
from localai_deploy.runtimes import deployment_of, runtime_named
from localai_deploy.targets.base import Target

T = TypeVar("T")
Say = Callable[[str], None]
"""Tells a person what is going on, one line each."""


@dataclass(frozen=True, slots=True)
class PlannedHost:
    """One host with everything that was found out about it."""

    host: InventoryHost
    target: Target
    facts: HostFacts
    deployment: Deployment | None
    plan: HostPlan


def plan_host(host: InventoryHost, target: Target, choices: Choices, say: Say) -> PlannedHost:
    """Observe and plan one host.

    :raises LocalaiError: the host cannot be looked at (``host-*``, ``ssh-*``, ``sudo-*``).
    """
    spec = host.spec()
    say(f"{host.name}: looking at the host")
    facts = target.observe()
    deployment, problems = _resolve(host, spec, facts, choices, say)
    return PlannedHost(host, target, facts, deployment, make_plan(spec, facts, deployment, problems))


def _resolve(
    host: InventoryHost, spec: HostSpec, facts: HostFacts, choices: Choices, say: Say
) -> tuple[Deployment | None, list[Finding]]:
    problems: list[Finding] = []
    lock = _attempt(lambda: environment_lock(spec, facts, choices, say), problems)
    models = [_attempt(_resolver(host, spec, facts, choices, say, text), problems) for text in spec.models]
    found = tuple(model for model in models if model is not None)
    if lock is None or len(found) != len(models):
        return None, problems
    return _attempt(lambda: deployment_of(spec, lock, found), problems), problems


def _attempt(action: Callable[[], T], problems: list[Finding]) -> T | None:
    try:
        return action()
    except LocalaiError as error:
        problems.append(Finding.from_error(error))
        return None


def environment_lock(spec: HostSpec, facts: HostFacts, choices: Choices, say: Say) -> EnvironmentLock:
    """The lock that the host records; a new one if an update is asked for or it is of another kind."""
    recorded = _recorded_lock(facts)
    if recorded and not choices.update and _fits(recorded, spec):
        return recorded
    from localai_deploy.runtimes.solver import solve_environment

    runtime = runtime_named(spec.runtime)
    say(f"{spec.name}: solving {runtime.package} ({spec.variant}) from {spec.channel_url}")
    return solve_environment(
        channel=spec.conda_channel,
        channel_url=spec.channel_url,
        match_spec=runtime.match_spec(spec.variant),
        variant=spec.variant,
        platform=PLATFORMS.get(facts.architecture, "linux-64"),
        libc_version=facts.libc_version,
    )


def _fits(lock: EnvironmentLock, spec: HostSpec) -> bool:
    return lock.variant == spec.variant and lock.channel == spec.conda_channel


def _recorded_lock(facts: HostFacts) -> EnvironmentLock | None:
    if facts.lock is None or isinstance(facts.lock, CorruptRecord):
        return None
    try:
        return EnvironmentLock.from_data(facts.lock)
    except (KeyError, TypeError):
        return None


def _resolver(
    host: InventoryHost, spec: HostSpec, facts: HostFacts, choices: Choices, say: Say, text: str
) -> Callable[[], ModelFile]:
    def resolve() -> ModelFile:
        reference = parse_model_reference(text)
        recorded = recorded_model(reference, facts)
        if recorded and not choices.update:
            return recorded
        from localai_deploy.hub.resolve import resolve_model

        say(f"{spec.name}: looking up {text}")
        return resolve_model(
            reference,
            mirrors=spec.mirrors,
            token=host.secrets.hub_token or None,
            trust_first_download=spec.trust_first_download,
        )

    return resolve


def recorded_model(reference: ModelReference, facts: HostFacts) -> ModelFile | None:
    """What the host already holds for this very reference: a re-run needs no network."""
    fact = facts.model(reference.file_name)
    if reference.scheme == "file" or fact is None or fact.reference != reference.text or not fact.sha256:
        return None
    return ModelFile(
        reference=reference.text,
        file_name=reference.file_name,
        url=fact.url,
        sha256=fact.sha256,
        size_bytes=fact.size_bytes,
        revision=fact.revision,
        trust_first_download=fact.trusted_first_download,
    )


def record_of(facts: HostFacts) -> dict[str, Any] | None:
    """The host's own deployment record, when there is a readable one."""
    if facts.deployment is None or isinstance(facts.deployment, CorruptRecord):
        return None
    return dict(facts.deployment)
