"""A model's metadata by the keys of its own architecture."""

from __future__ import annotations

from localai_deploy.domain.gguf.header import GgufModel, Value


class Metadata:
    """Values under ``<architecture>.…``."""

    def __init__(self, model: GgufModel) -> None:
        self._values = model.metadata
        self.architecture = model.architecture

    def value(self, key: str) -> Value | None:
        """Give what is at ``key``."""
        return self._values.get(f"{self.architecture}.{key}")

    def whole(self, key: str, number: int | None = None) -> int:
        """Give the integer at ``key``; of an array the one of block ``number``, else the largest; else 0."""
        value = self.value(key)
        if isinstance(value, tuple) and value:
            value = value[number] if number is not None and number < len(value) else max(value)
        return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0

    @property
    def blocks(self) -> int:
        """Blocks, also those that only guess the next tokens."""
        return self.whole("block_count")

    @property
    def trunk(self) -> int:
        """Blocks that answer; the rest guesses tokens ahead and is left out unless that is asked for."""
        return max(self.blocks - self.whole("nextn_predict_layers"), 0)
