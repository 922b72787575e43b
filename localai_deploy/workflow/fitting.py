"""Headers of what could be served, and a choice among it; few are read: sizes tell most."""

from __future__ import annotations

from dataclasses import dataclass, replace

from localai_deploy.domain.fit.choice import Choice, Freedom, choose
from localai_deploy.domain.fit.machine import Machine
from localai_deploy.domain.fit.offer import (
    Candidate,
    candidate_of,
    conversions,
    offers_of,
    scaled,
    worth_reading,
)
from localai_deploy.domain.fit.projector import read_projector
from localai_deploy.domain.fit.reading import read_shape
from localai_deploy.domain.fit.speed import Timing
from localai_deploy.domain.fit.wish import Wish
from localai_deploy.domain.gguf.header import GgufModel
from localai_deploy.domain.reference import ModelReference
from localai_deploy.errors import InputError, LocalaiError
from localai_deploy.hub.offered import files_offered, names_weights, parse_offered, read_offered, read_weights
from localai_deploy.hub.safetensors import BEGINS

_MOST_HEADERS = 4


@dataclass(frozen=True, slots=True)
class Hub:
    """Where models come from."""

    endpoint: str
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """The candidates that a reference stands for: one model, or a repository's quantisations.

    :param converted: it holds original weights; candidates are what could be made of them.
    """

    reference: ModelReference
    candidates: tuple[Candidate, ...]
    converted: bool = False


def look_at(text: str, room_bytes: int, hub: Hub) -> Offered:
    """Read one header of what ``text`` stands for.

    :param room_bytes: memory there is for it; decides which header of a repository is read.
    :raises LocalaiError: ``model-…``, ``gguf-…``, ``safetensors-…``, ``fit-model-unknown``,
        ``fit-nothing-offered``.
    """
    reference = parse_offered(text)
    if names_weights(reference):
        return _converted(reference, hub)
    if reference.path or reference.scheme != "hf":
        return Offered(reference, (_read(reference, hub),))
    files = files_offered(reference, endpoint=hub.endpoint, token=hub.token)
    offers = offers_of(files)
    if not offers and any(path in BEGINS for path, _ in files):
        return _converted(reference, hub)
    if not offers:
        raise no_gguf(text)
    first = worth_reading(offers, room_bytes)
    known = _read(replace(reference, path=first.path), hub)
    found = (known if offer is first else scaled(known, offer) for offer in offers)
    return Offered(reference, tuple(found))


def no_gguf(text: str) -> LocalaiError:
    """What to say of a repository without anything that a runtime here serves."""
    return LocalaiError(
        "fit-nothing-offered",
        f"{text} offers no GGUF model",
        hint="most publishers keep them in a repository of their own, named …-GGUF",
    )


def _converted(reference: ModelReference, hub: Hub) -> Offered:
    model = read_weights(reference, endpoint=hub.endpoint, token=hub.token)
    name = reference.repo or reference.file_name
    return Offered(reference, conversions(model, name), converted=True)


def with_companions(offered: Offered, draft: str, projector: str, hub: Hub) -> Offered:
    """The same candidates, each with what is to run beside it; empty references name nothing.

    :raises LocalaiError: as :func:`look_at`; ``fit-projector-unknown``.
    """
    shape = read_shape(_header(draft, hub)) if draft else None
    beside = read_projector(_header(projector, hub)) if projector else None
    found = (replace(one, draft=shape, projector=beside) for one in offered.candidates)
    return replace(offered, candidates=tuple(found))


def _header(text: str, hub: Hub) -> GgufModel:
    reference = parse_offered(text)
    if reference.scheme == "hf" and not reference.path:
        raise InputError(
            "model-reference-invalid",
            f"{text!r} names no file",
            why="what runs beside a model is one file of its own",
            hint="write hf:ORG/REPO/FILE.gguf",
        )
    return read_offered(reference, endpoint=hub.endpoint, token=hub.token)


def choose_offered(
    offered: Offered, wish: Wish, machine: Machine, freedom: Freedom, hub: Hub, timing: Timing | None = None
) -> tuple[Offered, Choice]:
    """Choose, read the header of what was chosen, and choose again until it stays.

    :raises LocalaiError: as :func:`look_at`; ``fit-wish-impossible``.
    """
    for _ in range(_MOST_HEADERS):
        choice = choose(offered.candidates, wish, machine, freedom, timing)
        if choice.best is None or choice.best.candidate.exact or offered.converted:
            break
        chosen = choice.best.candidate
        exact = _read(replace(offered.reference, path=chosen.name), hub)
        exact = replace(exact, draft=chosen.draft, projector=chosen.projector)
        offered = replace(offered, candidates=_replaced(offered.candidates, chosen, exact))
    return offered, choice


def _replaced(all_of_them: tuple[Candidate, ...], old: Candidate, new: Candidate) -> tuple[Candidate, ...]:
    return tuple(new if one is old else one for one in all_of_them)


def _read(reference: ModelReference, hub: Hub) -> Candidate:
    model = read_offered(reference, endpoint=hub.endpoint, token=hub.token)
    return candidate_of(model, reference.path if reference.scheme == "hf" else reference.file_name)
