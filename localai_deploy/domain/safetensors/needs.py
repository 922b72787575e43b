"""What a safetensors repository needs at least: its weights, and a cache by its ``config.json``.

Runtimes that load such files (vLLM, Transformers) give the rest of the card to their cache or buffers, so
this is what must fit, not what will be taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from localai_deploy.domain.safetensors.header import StoredTensor

_F16 = 2


@dataclass(frozen=True, slots=True)
class RepositoryNeeds:
    """Weights in bytes and values.

    :param cache_token_bytes: keys and values of one token over all blocks; 0 where the config does not tell.
    """

    weights_bytes: int
    values: int
    cache_token_bytes: int

    def cache_bytes(self, tokens: int) -> int:
        """Cache of ``tokens`` tokens of all sequences together."""
        return self.cache_token_bytes * tokens


def needs_of(tensors: Iterable[StoredTensor], config: Mapping[str, object]) -> RepositoryNeeds:
    """Add up ``tensors``; the cache's widths come from ``config``, or from the text part of it."""
    rows = tuple(tensors)
    text = config.get("text_config")
    told = text if isinstance(text, dict) else config
    values = 0
    for row in rows:
        count = 1
        for size in row.shape:
            count *= size
        values += count
    return RepositoryNeeds(sum(row.size_bytes for row in rows), values, _token_bytes(told))


def _token_bytes(config: Mapping[str, object]) -> int:
    """Bytes of a token's keys and values in half precision; windows and states are not taken off."""
    heads = _whole(config, "num_attention_heads")
    blocks = _whole(config, "num_hidden_layers")
    if rank := _whole(config, "kv_lora_rank"):
        return _F16 * blocks * (rank + _whole(config, "qk_rope_head_dim"))
    if not heads:
        return 0
    length = _whole(config, "head_dim") or _whole(config, "hidden_size") // heads
    return 2 * _F16 * blocks * (_whole(config, "num_key_value_heads") or heads) * length


def _whole(config: Mapping[str, object], key: str) -> int:
    value = config.get(key)
    return value if type(value) is int and 0 < value < 1 << 24 else 0
