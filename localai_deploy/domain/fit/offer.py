"""What a repository offers: its GGUF models by quantisation, split ones as one, from names and sizes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from localai_deploy.domain.fit.estimate import Estimate, estimate
from localai_deploy.domain.fit.projector import Projector
from localai_deploy.domain.fit.reading import read_shape
from localai_deploy.domain.fit.shape import Block, Shape
from localai_deploy.domain.fit.wish import Card, Wish
from localai_deploy.domain.gguf.header import GgufModel

USUAL_BITS = 4.8
"""Bits a weight of Q4_K_M, which most people run."""
_QUANTIZATION = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q|TQ)[0-9](?:_[0-9A-Z]+)*|B?F16|F32|MXFP4(?:_MOE)?|NVFP4)(?=[-._/]|$)", re.I
)
_PART = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf", re.I)
CONVERTED_BITS = {
    "F16": 16.0,
    "Q8_0": 8.5,
    "Q6_K": 6.56,
    "Q5_K_M": 5.7,
    "Q4_K_M": 4.9,
    "Q3_K_M": 4.0,
    "Q2_K": 3.16,
}
"""Bits a weight that files of each quantisation have (``tools/quantize/README.md`` of llama.cpp)."""
_BESIDE = ("mmproj", "imatrix", "vocab")
"""In names of GGUF files that are no model by themselves."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One model of a repository; ``path`` is its first part's."""

    path: str
    quantization: str
    size_bytes: int
    files: int = 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that could be served.

    :param values: of all tensors.
    :param trained_context: tokens; 0 when the file does not tell.
    :param exact: its own tensor table was read; else sizes follow from another quantisation's.
    :param draft: a second, small model that guesses tokens ahead.
    :param projector: what turns pictures or sound into embeddings.
    """

    name: str
    quantization: str
    shape: Shape
    size_bytes: int
    values: int
    trained_context: int = 0
    exact: bool = True
    draft: Shape | None = None
    projector: Projector | None = None

    def estimate(self, wish: Wish, cards: Sequence[Card]) -> Estimate:
        """What it needs with all that runs beside it; see :func:`estimate`."""
        return estimate(self.shape, wish, cards, draft=self.draft, projector=self.projector)

    @property
    def bits_per_weight(self) -> float:
        """Bits of the file for each value."""
        return 8 * self.size_bytes / max(self.values, 1)

    @property
    def label(self) -> str:
        """How it is called among its kind."""
        return self.quantization or self.name


def quantization_of(path: str) -> str:
    """``gemma-2-27b-it-Q4_K_M.gguf`` → ``Q4_K_M``; empty when the name does not tell."""
    found = _QUANTIZATION.findall(path.removesuffix(".gguf"))
    return found[-1].upper() if found else ""


def in_parts(path: str) -> bool:
    """Whether the model that begins at ``path`` lies in several files."""
    split = _PART.fullmatch(path)
    return split is not None and int(split["count"]) > 1


def offers_of(files: Iterable[tuple[str, int]]) -> tuple[Offer, ...]:
    """Sort path and size of a repository's files to models, smallest first; incomplete ones are left out."""
    parts: dict[str, list[tuple[str, int]]] = {}
    counts: dict[str, int] = {}
    for path, size in files:
        name = PurePosixPath(path).name.lower()
        if not name.endswith(".gguf") or any(word in name for word in _BESIDE):
            continue
        split = _PART.fullmatch(path)
        stem = split["stem"] if split else path
        parts.setdefault(stem, []).append((path, size))
        counts[stem] = int(split["count"]) if split else 1
    found = [
        Offer(min(held)[0], quantization_of(min(held)[0]), sum(size for _, size in held), len(held))
        for stem, held in parts.items()
        if len(held) == counts[stem]
    ]
    return tuple(sorted(found, key=lambda offer: (offer.size_bytes, offer.path)))


def candidate_of(model: GgufModel, name: str) -> Candidate:
    """Make a candidate of a model whose table was read.

    :raises LocalaiError: ``fit-model-unknown``.
    """
    trained = model.metadata.get(f"{model.architecture}.context_length")
    return Candidate(
        name=name,
        quantization=quantization_of(name),
        shape=read_shape(model),
        size_bytes=sum(tensor.size_bytes for tensor in model.tensors),
        values=sum(tensor.values for tensor in model.tensors),
        trained_context=trained if isinstance(trained, int) else 0,
    )


def conversions(model: GgufModel, name: str) -> tuple[Candidate, ...]:
    """What could be made of original weights, which ``model`` holds as f16; nobody measured such files.

    :raises LocalaiError: ``fit-model-unknown``.
    """
    known = candidate_of(model, name)
    known = replace(known, shape=replace(known.shape, known=False))
    offers = (
        Offer(f"{name} as {kind}", kind, round(known.values * bits / 8))
        for kind, bits in CONVERTED_BITS.items()
    )
    return tuple(scaled(known, offer) for offer in offers)


def scaled(known: Candidate, offer: Offer) -> Candidate:
    """Derive another quantisation's candidate from one that was read: every tensor in proportion."""
    ratio = offer.size_bytes / max(known.size_bytes, 1)
    shape = known.shape

    def of(size: int) -> int:
        return round(size * ratio)

    def block_of(block: Block) -> Block:
        return replace(block, weights_bytes=of(block.weights_bytes), expert_bytes=of(block.expert_bytes))

    return replace(
        known,
        name=offer.path,
        quantization=offer.quantization,
        size_bytes=offer.size_bytes,
        exact=False,
        shape=replace(
            shape,
            blocks=tuple(map(block_of, shape.blocks)),
            input_bytes=of(shape.input_bytes),
            output_bytes=of(shape.output_bytes),
            tied_bytes=of(shape.tied_bytes),
            repacked_bytes=of(shape.repacked_bytes),
        ),
    )


def worth_reading(offers: tuple[Offer, ...], room_bytes: int) -> Offer:
    """Guess which offer will be chosen: the largest that leaves a tenth of ``room_bytes``, else Q4_K_M.

    Its header is read first; the guess decides how many are read, not which one is chosen.
    """
    fitting = [offer for offer in offers if offer.size_bytes * 1.1 < room_bytes]
    usual = [offer for offer in offers if offer.quantization.endswith("Q4_K_M")]
    return (fitting or usual or [offers[len(offers) // 2]])[-1]
