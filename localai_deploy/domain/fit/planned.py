"""How the model of a deployment lies on its host: layers, needs by device, speed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from localai_deploy.domain.fit.estimate import Confidence, DeviceNeed
from localai_deploy.domain.fit.speed import Basis


@dataclass(frozen=True, slots=True)
class PlannedFit:
    """What a plan says of memory and speed.

    :param devices: cards first, the host last.
    :param cpu_expert_layers: blocks whose experts stay on the host.
    :param tokens_per_second: of generation; ``None`` when a card's bandwidth is unknown.
    :param whole_tokens_per_second: what the same cards would reach if they held everything; ``None`` when
        they do, or when there is none.
    """

    devices: tuple[DeviceNeed, ...]
    gpu_layers: int
    layers: int
    confidence: Confidence
    basis: Basis
    tokens_per_second: float | None
    whole_tokens_per_second: float | None = None
    cpu_expert_layers: int = 0

    @property
    def has_cards(self) -> bool:
        """Whether there is a card at all."""
        return len(self.devices) > 1

    @property
    def gpu_memory_bytes(self) -> int:
        """What the server reserves on all cards, without what the driver takes for itself."""
        return sum(one.weights_bytes + one.kv_bytes + one.compute_bytes for one in self.devices[:-1])

    def to_data(self) -> dict[str, Any]:
        """Plain data, as the JSON of a plan shows it and a host records it."""
        return asdict(self) | {"devices": [asdict(device) for device in self.devices]}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> PlannedFit:
        """Inverse of :meth:`to_data`; KeyError or TypeError on foreign data."""
        return cls(**{**data, "devices": tuple(DeviceNeed(**one) for one in data["devices"])})
