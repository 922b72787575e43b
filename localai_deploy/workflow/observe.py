"""Look at the world for one host and make its plan; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from localai_deploy.domain.deployment import Deployment, is_our_record
from localai_deploy.domain.facts import CorruptRecord, HostFacts
from localai_deploy.domain.fit.fitted import Fitted, with_layers, with_layers_asked_for
from localai_deploy.domain.gpu.host_driver import driver_of
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.models.catalogue import default_model
from localai_deploy.domain.observations import Observation, observe_step
from localai_deploy.domain.plan import VM_STEPS, Finding, HostPlan, ModelChoice, Severity, StepKind
from localai_deploy.domain.planning import make_plan
from localai_deploy.domain.pve.facts import VmFacts
from localai_deploy.domain.pve.planning import VmPlan, nominal_facts
from localai_deploy.domain.pve.sizing import size_for
from localai_deploy.domain.reference import ModelFile, ModelReference, hub_url, parse_model_reference
from localai_deploy.domain.spec import Choices, HostSpec
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.runtimes import deployment_of
from localai_deploy.targets.base import Target
from localai_deploy.workflow.environment_lock import environment_lock
from localai_deploy.workflow.holding import hold
from localai_deploy.workflow.host_fit import HostFit, host_fit, machine_of
from localai_deploy.workflow.repository_choice import with_files
from localai_deploy.workflow.telling import Say
from localai_deploy.workflow.vm_size import sized

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PlannedHost:
    """One host with everything that was found out about it.

    :param facts: of a VM that is not up yet, what it will look like.
    :param vm: what its node says of a VM; ``None`` for a host that was there before us.
    :param devices: vendor and device of what a VM has of its node's, sorted.
    :param fitted: how its model was fitted to it; ``None``: the host's record told, or nobody knows.
    """

    host: InventoryHost
    target: Target
    facts: HostFacts
    deployment: Deployment | None
    plan: HostPlan
    vm: VmPlan | None = None
    devices: tuple[str, ...] = ()
    fitted: Fitted | None = None

    @property
    def is_up(self) -> bool:
        """The host itself was looked at."""
        return self.vm is None or self.vm.is_up

    def observed(self, kind: StepKind) -> Observation | None:
        """What was seen of a step's part of the host; ``None`` when that cannot be told."""
        if self.vm is not None and kind in self.vm.observations:
            return self.vm.observations[kind]
        if self.deployment is None or kind in VM_STEPS:
            return None
        return observe_step(kind, self.deployment, self.facts)


def plan_host(
    host: InventoryHost, target: Target, choices: Choices, say: Say, *, lock: ExitStack | None = None
) -> PlannedHost:
    """Observe and plan one host; of a VM first its node is asked.

    :param lock: hold the host against other runs until it closes, as soon as it can be reached.
    :raises LocalaiError: the host cannot be looked at (``host-*``, ``ssh-*``, ``sudo-*``, ``pve-*``).
    """
    spec = host.spec()
    vm = survey(host, target, say)
    facts = look_at(target, say, lock) if vm is None or vm.is_up else nominal_facts(vm.spec, vm.image)
    devices = vm.cards.guest_ids if vm else ()
    planned = PlannedHost(host, target, facts, None, HostPlan(spec.name, ()), vm, devices)
    return resolved(planned, choices, say)


def survey(host: InventoryHost, target: Target, say: Say) -> VmPlan | None:
    """Ask a VM's node; ``None`` for a host that was there before us."""
    if host.vm is not None:
        say(f"{host.name}: looking at node {host.vm.node.node}")
    return target.survey()


@dataclass(frozen=True, slots=True)
class Seen:
    """One look for ``status``: ``facts`` of a host that could be looked at, ``vm`` of a VM that is there."""

    facts: HostFacts | None
    vm: VmFacts | None = None


def look_at_state(host: InventoryHost, target: Target) -> Seen:
    """Look at a host, or at as much of a VM as there is; nothing is changed or waited for."""
    plan = survey(host, target, lambda _: None)
    if plan is None:
        return Seen(target.observe())
    up = plan.vm is not None and plan.vm.running and plan.vm.address
    return Seen(target.observe() if up else None, plan.vm)


def look_at(target: Target, say: Say, lock: ExitStack | None) -> HostFacts:
    """Look at a host that is up, held against other runs if there is a ``lock``."""
    if lock is not None:
        hold(target, lock, say)
    say(f"{target.name}: looking at the host")
    return target.observe()


def resolved(planned: PlannedHost, choices: Choices, say: Say) -> PlannedHost:
    """The same host with its deployment resolved and its plan made from the facts that it has."""
    host, facts = planned.host, planned.facts
    spec, about_driver = with_driver(replace(host.spec(), devices=planned.devices), facts)
    if not spec.models:
        spec = replace(spec, models=unnamed_models(spec, facts, say))
    problems: list[Finding] = []
    named = _attempt(lambda: _with_files(planned, spec, choices, say), problems)
    spec, chosen = named or (spec, ())
    parts = _look_up(host, spec, facts, choices, say, problems) if named else None
    blocked = any(one.severity is Severity.BLOCKER for one in about_driver)
    deployment, fit = None, HostFit()
    if parts is not None:
        lock, models = parts

        def fit_to(facts: HostFacts) -> HostFit:
            """Without its driver nobody knows what a card takes."""
            token = host.secrets.hub_token
            return HostFit() if blocked else host_fit(spec, models[0], facts, token, say, choices.answers)

        fit = fit_to(facts)
        if larger := sized(planned.vm, host.vm, planned.target, size_for(fit.host_need, lock, models)):
            facts = nominal_facts(larger.spec, larger.image)
            planned = replace(planned, vm=larger, facts=facts)
            fit = fit_to(facts)
        problems += fit.findings
        spec = with_layers(spec, fit.planned) if fit.planned else with_layers_asked_for(spec)
        deployment = _attempt(lambda: deployment_of(spec, lock, models), problems)
    plan = make_plan(spec, facts, deployment, (*about_driver, *problems), fit.planned)
    plan = replace(plan, chosen=chosen)
    if planned.vm is not None:
        steps, findings = (*planned.vm.steps, *plan.steps), (*planned.vm.findings, *plan.findings)
        plan = replace(plan, steps=steps, findings=findings)
    if choices.steps:
        plan = plan.only(choices.steps)
    if choices.strict:
        plan = plan.strict()
    return replace(planned, deployment=deployment, plan=plan, fitted=fit.fitted)


def with_driver(spec: HostSpec, facts: HostFacts) -> tuple[HostSpec, tuple[Finding, ...]]:
    """The spec with the driver of the host's cards, and what is to be said of it."""
    found = driver_of(spec.name, facts, spec.devices, spec.driver_source)
    if found is None:
        return spec, ()
    if isinstance(found, Finding):
        return spec, (found,)
    return spec.with_driver(found), found.choice.warnings


def unnamed_models(spec: HostSpec, facts: HostFacts, say: Say) -> tuple[str, ...]:
    """Where nobody names a model: those that the host has by us, else one that its cards take whole."""
    record = record_of(facts)
    if record is not None and is_our_record(record):
        return tuple(str(one["reference"]) for one in record["models"])
    cards = machine_of(spec, facts.memory_bytes).cards
    name = default_model([card.memory_bytes for card in cards])
    say(f"{spec.name}: no model is named: taking {name}")
    return (name,)


def _with_files(
    planned: PlannedHost, spec: HostSpec, choices: Choices, say: Say
) -> tuple[HostSpec, tuple[ModelChoice, ...]]:
    """A VM that is still to be made gets the memory that its model needs, so that limits no choice."""
    host, facts = planned.host, planned.facts
    free = planned.vm is not None and planned.vm.vm is None and host.vm is not None and host.vm.may_grow
    machine = machine_of(spec, 0 if free else facts.memory_bytes)
    return with_files(spec, facts, machine, host.secrets.hub_token, say, update=choices.update)


_Parts = tuple[EnvironmentLock, tuple[ModelFile, ...]]


def _look_up(
    host: InventoryHost,
    spec: HostSpec,
    facts: HostFacts,
    choices: Choices,
    say: Say,
    problems: list[Finding],
) -> _Parts | None:
    """Lock and model files, as far as nothing stands in the way; else ``problems`` grow."""
    lock = _attempt(lambda: environment_lock(spec, facts, choices, say), problems)
    ask = partial(_model_file, host, spec, facts, choices, say)
    models = [_attempt(partial(ask, text), problems) for text in spec.models]
    found = tuple(model for model in models if model is not None)
    if lock is None or len(found) != len(models):
        return None
    return lock, found


def _attempt(action: Callable[[], T], problems: list[Finding]) -> T | None:
    try:
        return action()
    except LocalaiError as error:
        problems.append(Finding.from_error(error))
        return None


def _model_file(
    host: InventoryHost, spec: HostSpec, facts: HostFacts, choices: Choices, say: Say, text: str
) -> ModelFile:
    reference = parse_model_reference(text)
    recorded = recorded_model(reference, facts, spec.mirrors)
    if recorded and not choices.update:
        return recorded
    token, trust = host.secrets.hub_token or None, spec.trust_first_download

    def look_up() -> ModelFile:
        from localai_deploy.hub.resolve import resolve_model

        say(f"{spec.name}: looking up {text}")
        return resolve_model(reference, mirrors=spec.mirrors, token=token, trust_first_download=trust)

    return choices.answers.of(("model", reference, spec.mirrors, token, trust), look_up)


def recorded_model(reference: ModelReference, facts: HostFacts, mirrors: Mirrors) -> ModelFile | None:
    """What the host already holds for this very reference: a re-run needs no network."""
    fact = facts.model(reference.file_name)
    if reference.scheme == "file" or fact is None or fact.reference != reference.text or not fact.sha256:
        return None
    if reference.sha256 not in ("", fact.sha256):
        return None
    by_hub = reference.scheme == "hf" and fact.revision
    return ModelFile(
        reference=reference.text,
        file_name=reference.file_name,
        url=hub_url(mirrors.huggingface, reference, fact.revision) if by_hub else fact.url,
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
