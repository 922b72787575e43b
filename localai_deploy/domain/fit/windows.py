"""Which blocks see a sliding window only, and how long it is.

Source: ``load_arch_hparams`` of each model in llama.cpp's ``src/models``. Files carry a flag for each block,
a period, or nothing, where the period is part of the architecture. Architectures that are not named here
and have no flags are taken to see everything: more cells, never fewer.
"""

from __future__ import annotations

from typing import NamedTuple

from localai_deploy.domain.fit.metadata import Metadata


class Pattern(NamedTuple):
    """Every ``period``-th block sees everything: the last of each group, or the first."""

    period: int
    first: bool = False


PATTERNS = {
    "gemma2": Pattern(2),
    "gemma3": Pattern(6),
    "gemma3n": Pattern(5),
    "gemma-embedding": Pattern(6),
    "modern-bert": Pattern(3, first=True),
    "gpt-oss": Pattern(2),
    "cohere2": Pattern(4),
    "cohere2moe": Pattern(4, first=True),
    "olmo2": Pattern(4),
    "exaone4": Pattern(4),
    "exaone-moe": Pattern(4),
    "llama4": Pattern(4),
    "afmoe": Pattern(4),
    "mellum": Pattern(4),
    "muse-glimmer": Pattern(4),
    "laguna": Pattern(4, first=True),
    "plamo3": Pattern(8),
    "smallthinker": Pattern(4, first=True),
}
_UNUSED = ("phi3", "qwen2", "qwen3", "llama", "mistral3", "starcoder2")
"""They carry a window that the runtime does not use."""
_CHUNK = 8192
_EXAONE4_BLOCKS, _EXAONE4_WINDOW = 64, 4096
_SMALLTHINKER_WINDOW = 4096


def window_tokens(metadata: Metadata) -> int:
    """Tokens of the sliding window; 0 for none."""
    told = metadata.value("attention.sliding_window")
    name = metadata.architecture
    if name in _UNUSED:
        return 0
    if name == "llama4":
        return 0 if told == 0 else _CHUNK
    if name == "exaone4":
        return (
            metadata.whole("attention.sliding_window") or _EXAONE4_WINDOW
            if _is_windowed_exaone(metadata)
            else 0
        )
    window = metadata.whole("attention.sliding_window")
    return _SMALLTHINKER_WINDOW if name == "smallthinker" and window else window


def windowed(metadata: Metadata, number: int) -> bool:
    """Whether block ``number`` sees the window only."""
    if not window_tokens(metadata) or number >= metadata.trunk:
        return False
    told = metadata.value("attention.sliding_window_pattern")
    if isinstance(told, tuple):
        return number < len(told) and bool(told[number])
    if metadata.architecture in ("lfm2", "lfm2moe"):
        return True
    known = PATTERNS.get(metadata.architecture)
    if known is None:
        return False
    period = told if isinstance(told, int) and not isinstance(told, bool) else known.period
    if period < 1:
        return True
    return number % period > 0 if known.first else number % period < period - 1


def _is_windowed_exaone(metadata: Metadata) -> bool:
    return metadata.blocks == _EXAONE4_BLOCKS
