"""The hardware that a cluster is given: nodes, cards, who uses them, what fails."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a device.

    :param address: ``01:00.0``.
    :param driver: what holds it on the node; empty: nothing.
    """

    address: str
    id: str
    class_id: str
    group: int
    subsystem: str = ""
    name: str = ""
    driver: str = ""


@dataclass(frozen=True, slots=True)
class CardSpec:
    """A card of a node.

    :param model: of QEMU, which guests really get; empty: they get nothing.
    :param reset_fails: it can be used by one start of a VM after the node's own start.
    :param start_fails: a VM with it does not start in time.
    """

    slot: str
    functions: tuple[Function, ...]
    model: str = ""
    reset_fails: bool = False
    start_fails: bool = False


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node; ``None`` and 0 stand for this machine's own figures."""

    name: str
    iommu: bool = True
    memory_gib: int = 0
    cpus: int = 0
    cards: tuple[CardSpec, ...] = ()
    others: tuple[Function, ...] = ()


@dataclass(frozen=True, slots=True)
class VmSpec:
    """A VM that is there from the start, not one of ours: it has a power state and no guest."""

    vmid: int
    name: str
    node: str
    card: str
    running: bool


@dataclass(frozen=True, slots=True)
class Hardware:
    """All of it.

    :param mappings: name → entries as the server has them.
    """

    nodes: tuple[NodeSpec, ...] = ()
    mappings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    vms: tuple[VmSpec, ...] = ()
