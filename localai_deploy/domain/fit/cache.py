"""Sizes of the key-value cache and of recurrent states.

Source: llama.cpp's ``llama_kv_cache``, ``llama_kv_cache_iswa`` and ``llama_memory_recurrent``: cells are
padded to 256; each slot has its share of them unless the cache is unified; a windowed block holds
``window + ubatch`` cells (times the slots in a unified cache); recurrent states are f32, one a slot.
"""

from __future__ import annotations

from localai_deploy.domain.fit.shape import Attention, Block, Shape
from localai_deploy.domain.fit.wish import CACHE_BITS, Wish

CELLS = 256


def padded(tokens: int) -> int:
    """``tokens`` up to a whole number of :data:`CELLS`."""
    return -(-tokens // CELLS) * CELLS


def streams(wish: Wish) -> int:
    """Caches side by side: one that all slots share, or one for each."""
    return 1 if wish.unified else wish.parallel


def full_cells(wish: Wish) -> int:
    """Cells of one stream of a block that sees the whole context."""
    return padded(padded(wish.context) // streams(wish))


def window_cells(shape: Shape, wish: Wish) -> int:
    """Cells of one stream of a windowed block."""
    slots = wish.parallel if wish.unified else 1
    return min(full_cells(wish), padded(shape.window * slots + wish.ubatch))


def cells_of(shape: Shape, attention: Attention, wish: Wish) -> int:
    """Cells of one stream of the block that ``attention`` belongs to."""
    return window_cells(shape, wish) if attention.windowed else full_cells(wish)


def cache_bytes(shape: Shape, block: Block, wish: Wish) -> int:
    """Keys and values of one block, and its recurrent states."""
    total = block.recurrence.state_bytes * wish.parallel if block.recurrence else 0
    attention = block.attention
    if attention and attention.own_cache:
        cells = cells_of(shape, attention, wish) * streams(wish)
        total += (
            _stored(attention.key, wish.cache_type_k) + _stored(attention.index, wish.cache_type_k)
        ) * cells
        total += _stored(_value_width(shape, attention.value, wish), wish.cache_type_v) * cells
    elif not attention and block.feed_forward and not any(other.recurrence for other in shape.blocks):
        total += _stored(_value_width(shape, 0, wish), wish.cache_type_v) * full_cells(wish) * streams(wish)
    return total


def _value_width(shape: Shape, values: int, wish: Wish) -> int:
    """Values a cell; those stored turned, without flash attention, are as wide as the widest block's.

    Even blocks without attention have them then, unless a latent or recurrent cache does without.
    """
    cached = [block.attention for block in shape.blocks if block.attention and block.attention.own_cache]
    if wish.flash_attention or any(attention.latent for attention in cached):
        return values
    return max((attention.value for attention in cached), default=0)


def _stored(values: int, cache_type: str) -> int:
    count, size = CACHE_BITS[cache_type]
    return -(-values // count) * size
