"""The plan: typed steps with reasons, made by a pure function from spec and world."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from localai_deploy.domain.fit.planned import PlannedFit
from localai_deploy.errors import ExitCode, LocalaiError


class StepKind(StrEnum):
    """Every kind of step, in the order in which a deployment runs them."""

    IMAGE = "image"
    CARD = "card"
    VM = "vm"
    START = "start"
    PREPARE = "prepare"
    DRIVER = "driver"
    ENVIRONMENT = "environment"
    RUNTIME = "runtime"
    MODELS = "models"
    SERVICE = "service"
    GATEWAY = "gateway"
    VERIFY = "verify"


VM_STEPS = (StepKind.IMAGE, StepKind.CARD, StepKind.VM, StepKind.START)
"""What brings a VM into being, through its node's API."""

HOST_STEPS = tuple(kind for kind in StepKind if kind not in VM_STEPS)
"""What is done on a host, however it came to be."""

ROLE_OF: dict[StepKind, str] = {
    StepKind.PREPARE: "base",
    StepKind.DRIVER: "nvidia_driver",
    StepKind.ENVIRONMENT: "conda",
    StepKind.RUNTIME: "llama_cpp",
    StepKind.MODELS: "model_store",
    StepKind.SERVICE: "service",
    StepKind.GATEWAY: "gateway",
}
"""The role that carries a step out."""


TAGS: Mapping[str, tuple[str, ...]] = {
    "driver": ("prepare", "driver"),
    "runtime": ("prepare", "environment", "runtime", "service", "gateway"),
    "models": ("prepare", "models", "service", "gateway"),
    "gateway": ("prepare", "gateway"),
    "verify": ("verify",),
}
"""What ``--tags`` takes and the names of the steps that it stands for; each leaves a host in order."""


class Action(StrEnum):
    """What a step does to its part of the host."""

    CREATE = "create"
    CHANGE = "change"
    KEEP = "keep"
    REMOVE = "remove"
    CHECK = "check"


class Severity(StrEnum):
    """Whether a finding stops the plan; ``unknown`` is what could not be looked at: it stops a strict one."""

    BLOCKER = "blocker"
    WARNING = "warning"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about the world that speaks against the plan; ``finding_id`` is explained by ``explain``."""

    finding_id: str
    severity: Severity
    what: str
    why: str = ""
    hint: str = ""
    exit_code: ExitCode = ExitCode.REFUSED

    @classmethod
    def from_error(cls, error: LocalaiError) -> Finding:
        """A blocker out of an error that observation met."""
        return cls(
            error.error_id, Severity.BLOCKER, error.what, error.why, error.hint, exit_code=error.exit_code
        )

    def strict(self) -> Finding:
        """A blocker in place of an unknown."""
        return replace(self, severity=Severity.BLOCKER) if self.severity is Severity.UNKNOWN else self

    def as_error(self) -> LocalaiError:
        """The other way: what a person is told where no plan can be shown."""
        return LocalaiError(
            self.finding_id, self.what, why=self.why, hint=self.hint, exit_code=self.exit_code
        )


@dataclass(frozen=True, slots=True)
class Change:
    """One value before and after; an empty side means that it is not there."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step on one host.

    :param reason: why it is there, for a person.
    :param reversible: whether ``down`` undoes it without loss.
    :param destructive: whether something is lost that only a new download brings back.
    """

    kind: StepKind
    action: Action
    reason: str
    changes: tuple[Change, ...] = ()
    reversible: bool = True
    reboot: bool = False
    destructive: bool = False

    @property
    def changes_host(self) -> bool:
        """Whether the host will differ afterwards."""
        return self.action in {Action.CREATE, Action.CHANGE, Action.REMOVE}


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The file that is taken of a repository.

    :param model: the file's own reference.
    :param why: in words.
    :param not_chosen: the other quantisations, each with its reason.
    """

    repository: str
    model: str
    why: str
    not_chosen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What will happen to one host.

    :param chosen: what was chosen where a whole repository is named.
    :param fit: how its model lies on it; ``None``: not known.
    """

    host: str
    steps: tuple[Step, ...]
    findings: tuple[Finding, ...] = ()
    fit: PlannedFit | None = None
    chosen: tuple[ModelChoice, ...] = ()

    @property
    def blockers(self) -> tuple[Finding, ...]:
        """Findings that must be gone before anything is changed."""
        return tuple(f for f in self.findings if f.severity is Severity.BLOCKER)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings to know of."""
        return tuple(f for f in self.findings if f.severity is Severity.WARNING)

    @property
    def unknowns(self) -> tuple[Finding, ...]:
        """What nobody could look at; it may speak against the plan or not."""
        return tuple(f for f in self.findings if f.severity is Severity.UNKNOWN)

    def only(self, names: Collection[str]) -> HostPlan:
        """The same plan with the steps of these names, and those that bring its host into being."""
        kept = (step for step in self.steps if step.kind.value in names or step.kind in VM_STEPS)
        return replace(self, steps=tuple(kept))

    def strict(self) -> HostPlan:
        """The same plan, blocked by what nobody could look at, too."""
        return replace(self, findings=tuple(one.strict() for one in self.findings))

    @property
    def changes_host(self) -> bool:
        """Whether any step changes something."""
        return any(step.changes_host for step in self.steps)

    def to_data(self) -> dict[str, Any]:
        """Plain data of the ``plan`` JSON schema."""
        return {
            "host": self.host,
            "changes": self.changes_host,
            "blockers": [finding_data(f) for f in self.blockers],
            "warnings": [finding_data(f) for f in self.warnings],
            "unknowns": [finding_data(f) for f in self.unknowns],
            "steps": [_step_data(step) for step in self.steps],
            **({"chosen": [_choice_data(one) for one in self.chosen]} if self.chosen else {}),
            **({"fit": self.fit.to_data()} if self.fit else {}),
        }


def finding_data(finding: Finding) -> dict[str, str]:
    """Plain data of a finding; its severity is told by where it stands."""
    return {"id": finding.finding_id, "what": finding.what, "why": finding.why, "hint": finding.hint}


def _choice_data(choice: ModelChoice) -> dict[str, Any]:
    return {
        "repository": choice.repository,
        "model": choice.model,
        "why": choice.why,
        "not_chosen": list(choice.not_chosen),
    }


def _step_data(step: Step) -> dict[str, Any]:
    return {
        "kind": step.kind.value,
        "action": step.action.value,
        "reason": step.reason,
        "changes": [{"name": c.name, "before": c.before, "after": c.after} for c in step.changes],
        "reversible": step.reversible,
        "reboot": step.reboot,
        "destructive": step.destructive,
    }
