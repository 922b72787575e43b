"""What the header of a GGUF file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

Scalar = int | float | bool | str


@dataclass(frozen=True, slots=True)
class SkippedValue:
    """An array or text that was passed over: its kind and its count of elements or bytes."""

    kind: str
    count: int


Value = Scalar | tuple[int | float | bool, ...] | SkippedValue


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table; ``shape`` has the fastest dimension first, as ggml writes it."""

    name: str
    shape: tuple[int, ...]
    type_name: str
    size_bytes: int
    offset: int

    @property
    def values(self) -> int:
        """Count of values."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """One file's header.

    :param data_offset: where the first tensor's bytes begin in the file.
    :param least_file_bytes: the file is cut off when it is shorter.
    """

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    data_offset: int
    least_file_bytes: int

    def whole(self, key: str) -> int | None:
        """Give the integer at ``key``, if there is one."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    def text(self, key: str) -> str:
        """Give the text at ``key``; empty when there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    @property
    def architecture(self) -> str:
        """``general.architecture``."""
        return self.text("general.architecture")


@dataclass(frozen=True, slots=True)
class GgufModel:
    """A model: the first file's metadata and all files' tensors."""

    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    files: int = 1
    by_name: Mapping[str, Tensor] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {tensor.name: tensor for tensor in self.tensors})

    @property
    def architecture(self) -> str:
        """``general.architecture``; empty when the file names none."""
        value = self.metadata.get("general.architecture")
        return value if isinstance(value, str) else ""
