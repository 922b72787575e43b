"""Look-ups in the catalogue."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

from localai_deploy.domain.models.chat import CHAT_7B, LARGER
from localai_deploy.domain.models.entry import CatalogueFile, CatalogueModel
from localai_deploy.domain.models.small import SMALL
from localai_deploy.domain.models.special import EMBEDDINGS, RECURRENT
from localai_deploy.errors import InputError

CATALOGUE = (*CHAT_7B, *LARGER, *SMALL, *EMBEDDINGS, *RECURRENT)
BY_NAME: Mapping[str, CatalogueModel] = {model.name: model for model in CATALOGUE}
ON_CPU = "smollm2-1.7b-instruct"
"""Served where nothing else is asked for and no card takes a model of the 7B class."""
DEFAULT_QUANTIZATION = "Q4_K_M"
BESIDE_WEIGHTS_BYTES = 3 << 29
"""Safe bound for KV at 4096 tokens, compute buffer and CUDA context of a model of the 7B class."""


def find_model(text: str) -> tuple[CatalogueModel, CatalogueFile] | None:
    """The file that ``NAME`` or ``NAME:QUANTIZATION`` means, whatever its case; ``None``: no such name.

    :raises InputError: ``model-no-runtime`` or ``model-quantization-unknown``.
    """
    name, _, quantization = text.partition(":")
    model = BY_NAME.get(name.lower())
    if model is None:
        return None
    if not model.files:
        raise InputError("model-no-runtime", f"no runtime of ours runs {model.name}", why=model.note)
    return model, _file_of(model, quantization)


def _file_of(model: CatalogueModel, quantization: str) -> CatalogueFile:
    if not quantization:
        return model.files[0]
    for file in model.files:
        if file.quantization == quantization.upper():
            return file
    raise InputError(
        "model-quantization-unknown",
        f"the catalogue has no {quantization} of {model.name}",
        hint=f"it has {', '.join(file.quantization for file in model.files)}; any other file of the "
        f"repository is named hf:{model.repository}/FILE.gguf",
    )


def close_model(text: str) -> str:
    """The catalogue's name that is most like ``text``, or an empty string."""
    close = difflib.get_close_matches(text.partition(":")[0].lower(), BY_NAME, n=1)
    return close[0] if close else ""


def fits_by_size(file: CatalogueFile, card_bytes: int) -> bool:
    """Whether a file of the 7B class surely fits on a card with so much free memory, at 4096 tokens."""
    return file.size_bytes > 0 and file.size_bytes + BESIDE_WEIGHTS_BYTES <= card_bytes


def default_model(
    card_bytes: Sequence[int], fits: Callable[[CatalogueFile, int], bool] = fits_by_size
) -> str:
    """The name of the model to serve where none is named.

    :param card_bytes: free memory of each card.
    :param fits: whether a file fits on one card whole.
    """
    for model in CHAT_7B:
        file = next((one for one in model.files if one.quantization == DEFAULT_QUANTIZATION), None)
        if file is not None and any(fits(file, free) for free in card_bytes):
            return model.name
    return ON_CPU
