"""Ready values for tests of fit: candidates of any size, and options whose every figure is literal."""

from __future__ import annotations

from localai_deploy.domain.fit.choice import Option
from localai_deploy.domain.fit.estimate import DeviceNeed, Estimate
from localai_deploy.domain.fit.offer import Candidate
from localai_deploy.domain.fit.shape import Attention, Block, Experts, Shape
from localai_deploy.domain.fit.speed import Speed
from localai_deploy.domain.fit.wish import Wish

GIB, MIB = 1 << 30, 1 << 20


def candidate(gib: float = 16, blocks: int = 32, experts: int = 0, label: str = "Q4_K_M") -> Candidate:
    """A model of 27 thousand million values; ``experts`` is the share of a block's bytes in percent."""
    size = round(gib * GIB) // (blocks + 1)
    attention = Attention(32, 4096, 1024, 1024)
    found = Experts(64, 8, 512, normed=True) if experts else None
    one = Block(
        weights_bytes=size,
        expert_bytes=size * experts // 100,
        attention=attention,
        recurrence=None,
        experts=found,
        feed_forward=14336,
        gated=True,
        fused_gate=False,
        attention_post_norm=False,
        feed_forward_post_norm=False,
        beside=False,
    )
    shape = Shape("llama", 4096, 128000, (one,) * blocks, 1 << 20, size, 0, 0, True)
    return Candidate(label, label, shape, round(gib * GIB), 27 * 10**9, 8192)


SPEED = Speed("formula", 6.04, (4.1, 8.2), 5.5, (173.2, 562.4), (1.1, 3.38))


def partial_option() -> Option:
    """17 of 33 layers on a card of 8 GiB."""
    card = DeviceNeed("gpu", "NVIDIA GeForce RTX 3070", 6 * GIB, 512 * MIB, 256 * MIB, 128 * MIB, 70 * MIB)
    host = DeviceNeed("host", "host", 10 * GIB, GIB, 256 * MIB, 64 * MIB, 100 * MIB)
    return Option(candidate(), Wish(gpu_layers=17), Estimate((card, host), 17, 33, "exact"), SPEED, ())


def moved_option() -> Option:
    """All layers on a card of 8 GiB, the experts of 20 blocks on the host; how fast is not known."""
    card = DeviceNeed("gpu", "card of 8 GiB", 6 * GIB, 512 * MIB, 256 * MIB, 128 * MIB, 70 * MIB)
    host = DeviceNeed("host", "host", 10 * GIB, 0, 256 * MIB, 64 * MIB, 100 * MIB)
    wish = Wish(cpu_expert_layers=20)
    unknown = Speed("unknown", None, None, None, None, None)
    return Option(candidate(experts=90), wish, Estimate((card, host), 33, 33, "close"), unknown, ())
