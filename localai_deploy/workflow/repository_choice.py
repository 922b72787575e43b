"""Where a whole repository is named: the file of it that a host's cards take, or that it already has."""

from __future__ import annotations

from dataclasses import replace

from localai_deploy.domain.deployment import is_our_record
from localai_deploy.domain.facts import CorruptRecord, HostFacts
from localai_deploy.domain.fit.choice import Choice, shortage_text
from localai_deploy.domain.fit.fitted import wish_of
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.offer import in_parts
from localai_deploy.domain.fit.record import recorded_timing
from localai_deploy.domain.plan import ModelChoice
from localai_deploy.domain.reference import ModelReference, repository_of
from localai_deploy.domain.spec import HostSpec
from localai_deploy.errors import LocalaiError
from localai_deploy.workflow.fitting import Hub, choose_offered, look_at, no_gguf
from localai_deploy.workflow.telling import Say


def with_files(
    spec: HostSpec, facts: HostFacts, machine: Machine, token: str, say: Say, *, update: bool
) -> tuple[HostSpec, tuple[ModelChoice, ...]]:
    """The spec with one file in place of each repository, and why it is that one.

    Models in several files are left out: hosts serve one file.

    :param machine: what the model is to run on; its memory is 0 where that follows from the model.
    :param update: choose anew, also where the host has a file of the repository by us.
    :raises LocalaiError: as :func:`look_at`; ``fit-does-not-fit`` when no file does.
    """
    models, choices = [], []
    for text in spec.models:
        repository = repository_of(text)
        if repository is None:
            models.append(text)
            continue
        kept = "" if update else _recorded(repository, facts)
        chosen = ModelChoice(text, kept, _KEPT) if kept else None
        chosen = chosen or _chosen(repository, spec, facts, machine, token, say)
        models.append(chosen.model)
        choices.append(chosen)
    return replace(spec, models=tuple(models)), tuple(choices)


_KEPT = "the host has it already; --update chooses anew"


def _recorded(repository: ModelReference, facts: HostFacts) -> str:
    """The file of the repository that the host's own record names; empty: none."""
    record = facts.deployment
    if record is None or isinstance(record, CorruptRecord) or not is_our_record(record):
        return ""
    for entry in record["models"]:
        body, _, revision = str(entry["reference"]).partition("@")
        if body.startswith(f"hf:{repository.repo}/") and revision == repository.revision:
            return str(entry["reference"])
    return ""


def _chosen(
    repository: ModelReference, spec: HostSpec, facts: HostFacts, machine: Machine, token: str, say: Say
) -> ModelChoice:
    say(f"{spec.name}: looking at what {repository.text} offers")
    hub = Hub(spec.mirrors.huggingface, token or None)
    wish, freedom = wish_of(spec)
    offered = look_at(repository.text, machine.room_bytes, hub)
    single = tuple(one for one in offered.candidates if not in_parts(one.name))
    if offered.converted or not single:
        raise no_gguf(repository.text)
    timing = recorded_timing(facts.fit, spec)
    offered, choice = choose_offered(replace(offered, candidates=single), wish, machine, freedom, hub, timing)
    if choice.best is None:
        raise _nothing_fits(repository, spec, choice)
    revision = f"@{repository.revision}" if repository.revision else ""
    return ModelChoice(
        repository.text,
        f"hf:{repository.repo}/{choice.best.candidate.name}{revision}",
        _why(choice, machine),
        tuple(f"{one.option.candidate.label}: {one.why}" for one in choice.rejected),
    )


def _why(choice: Choice, machine: Machine) -> str:
    if len(choice.rejected) == 0:
        return "the only one that is offered"
    if machine.cards and choice.best and choice.best.whole:
        return "the most bits a weight with all layers on the card"
    return "the nearest to 4 bits a weight (Q4_K_M) of those that fit"


def _nothing_fits(repository: ModelReference, spec: HostSpec, choice: Choice) -> LocalaiError:
    short = (
        f"{one.option.candidate.label}: {shortage_text(one.option.shortages[0])}" for one in choice.rejected
    )
    return LocalaiError(
        "fit-does-not-fit",
        f"nothing of {repository.text} fits on {spec.name} as wished",
        why="; ".join(short),
        hint=f"a smaller --context or model; localai-deploy fit --model {repository.text} shows what is near",
    )
