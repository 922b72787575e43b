"""Fit the model of one host to it: its header is read where it comes from, once for all hosts of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.fit.estimate import DeviceNeed
from localai_deploy.domain.fit.findings import no_card_finding, shortage_findings, unknown_finding
from localai_deploy.domain.fit.fitted import Fitted, fit_to
from localai_deploy.domain.fit.found import cards_from_ids
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.offer import Candidate, candidate_of, offers_of, scaled
from localai_deploy.domain.fit.planned import PlannedFit
from localai_deploy.domain.fit.record import recorded_fit, recorded_timing
from localai_deploy.domain.gpu.pci_id import parse_pci_id
from localai_deploy.domain.plan import Finding
from localai_deploy.domain.reference import ModelFile, parse_model_reference
from localai_deploy.domain.spec import HostSpec
from localai_deploy.errors import LocalaiError
from localai_deploy.hub.client import may_carry_token
from localai_deploy.hub.gguf import read_local, read_remote
from localai_deploy.hub.offered import files_offered
from localai_deploy.workflow.telling import Say


@dataclass(frozen=True, slots=True)
class HostFit:
    """How a model lies on a host, and what speaks against it.

    :param planned: ``None``: nobody knows.
    :param fitted: with the model's header; ``None`` where the host's own record answered.
    """

    planned: PlannedFit | None = None
    fitted: Fitted | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def host_need(self) -> DeviceNeed | None:
        """What the host itself must have of memory; ``None``: nobody knows."""
        return self.planned.devices[-1] if self.planned else None


def host_fit(spec: HostSpec, model: ModelFile, facts: HostFacts, token: str, say: Say) -> HostFit:
    """Fit ``model`` to the host of ``spec``; what the host recorded of the same question is taken again.

    :param token: the hub's; it goes nowhere but to the hub.
    """
    machine = machine_of(spec, facts.memory_bytes)
    if not machine.cards and spec.wanted_gpu_layers not in {"auto", 0}:
        return HostFit(findings=(no_card_finding(spec),))
    if recorded := recorded_fit(facts.fit, spec, model, facts.memory_bytes):
        return HostFit(recorded)
    say(f"{spec.name}: reading the header of {model.file_name}")
    try:
        candidate = _candidate(model, token if model.reference.startswith("hf:") else "")
        fitted = fit_to(candidate, spec, machine, timing=recorded_timing(facts.fit, spec))
    except LocalaiError as error:
        return HostFit(findings=(unknown_finding(spec, model.file_name, error),))
    if fitted.option.shortages:
        fitted = replace(fitted, others=_other_quantizations(candidate, spec, model, token))
    return HostFit(fitted.planned, fitted, tuple(shortage_findings(fitted, spec)))


def machine_of(spec: HostSpec, memory_bytes: int) -> Machine:
    """Host and cards; those that the runtime cannot use are as good as none."""
    return Machine(tuple(cards_from_ids(map(parse_pci_id, spec.cards))), memory_bytes)


@lru_cache(maxsize=64)
def _candidate(model: ModelFile, token: str) -> Candidate:
    if model.local_path:
        return candidate_of(read_local(Path(model.local_path)), model.file_name)
    private = may_carry_token(model.url)
    found = read_remote(model.url, token or None if private else None, plain=not private)
    return candidate_of(found, model.file_name)


def _other_quantizations(
    known: Candidate, spec: HostSpec, model: ModelFile, token: str
) -> tuple[Candidate, ...]:
    """The other models of the same repository, their sizes in proportion; none where it cannot be asked."""
    reference = parse_model_reference(model.reference)
    if reference.scheme != "hf":
        return ()
    try:
        files = files_offered(reference, endpoint=spec.mirrors.huggingface, token=token or None)
    except LocalaiError:
        return ()
    others = (offer for offer in offers_of(files) if offer.path != reference.path)
    return tuple(scaled(known, offer) for offer in others)
