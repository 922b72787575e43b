"""What is wanted: one typed value per host, made by the inventory reader from settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.fit.wish import UBATCH, UNQUANTISED, CacheType
from localai_deploy.domain.gateway import Gateway
from localai_deploy.domain.gpu.host_driver import HostDriver
from localai_deploy.domain.lock import Variant
from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.settings import Sourced
from localai_deploy.domain.shared_answers import SharedAnswers
from localai_deploy.errors import InputError

_NVIDIA = "10de:"
FORKS = 8
"""Hosts that are worked on at once, where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One host as it should be; ``models[0]`` is served.

    :param models: model references as written; none: what the host has, else what its cards take.
    :param gpu_layers: layers on the card (``-ngl``); 0 without a card.
    :param wanted_gpu_layers: what is asked for: ``auto``, ``all`` or a number; 99 and more mean all.
    :param cpu_expert_layers: blocks whose experts stay on the host (``--n-cpu-moe``).
    :param gpu_memory_bytes: model, cache and compute memory planned on cards; 0: none, or nobody knows.
    :param context_length: tokens, shared by ``parallel`` slots.
    :param cache_type_k: of the cache's keys, as llama.cpp names types; ``cache_type_v`` of its values.
    :param ubatch: tokens of a prompt computed at once.
    :param devices: vendor and device (``10de:2684``) of what was passed through to it, sorted.
    :param driver_source: as in ``localai_driver``: ``auto``, ``distribution``, ``nvidia``, ``none``.
    :param driver: of its cards; ``None`` without one.
    :param archives: references of a runtime's release archives, by the variant that they are taken for.
    :param model_cache: another host that is asked first for models; empty: none.
    :param clients: addresses and networks that may reach the API, when it listens beyond loopback.
    :param gateway: what it runs as the host of group ``gateway``.
    """

    name: str
    connection: Connection
    models: tuple[str, ...]
    runtime: str
    variant: Variant
    context_length: int
    parallel: int
    gpu_layers: int
    bind: str
    port: int
    conda_provider: str
    conda_channel: str
    mirrors: Mirrors = field(default_factory=Mirrors)
    trust_first_download: bool = False
    devices: tuple[str, ...] = ()
    model_cache: str = ""
    clients: tuple[str, ...] = ()
    gateway: Gateway | None = None
    wanted_gpu_layers: str | int = "auto"
    cpu_expert_layers: int = 0
    gpu_memory_bytes: int = 0
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    flash_attention: bool = True
    ubatch: int = UBATCH
    driver_source: str = "auto"
    driver: HostDriver | None = None
    archives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def plans_card(self) -> bool:
        """Whether an NVIDIA card is to do the work."""
        return plans_card(self.variant, self.gpu_layers, self.devices)

    @property
    def cards(self) -> tuple[str, ...]:
        """PCI ids of the cards that the runtime can use, one a card."""
        return self.driver.cards if self.driver else ()

    @property
    def channel_url(self) -> str:
        """Base URL of the conda channel, below which the lock's URLs lie."""
        return f"{self.mirrors.conda}/{self.conda_channel}"

    def with_driver(self, driver: HostDriver) -> HostSpec:
        """The same host with a driver, and the runtime in the variant that it runs."""
        variant: Variant = "cuda13" if driver.choice.cuda_major == 13 else "cuda12"
        return replace(self, driver=driver, variant=variant)

    @property
    def binds_beyond_loopback(self) -> bool:
        """Whether others than the host itself could reach the API."""
        return not ipaddress.ip_address(self.bind).is_loopback


@dataclass(frozen=True, slots=True)
class Choices:
    """What is asked of the tool in this run, apart from the hosts themselves.

    :param update: look for newer packages and model revisions instead of those recorded.
    :param strict: what could not be looked at blocks a plan.
    :param steps: names of the steps that are wanted; empty: all.
    :param forks: hosts that are worked on at once.
    :param answers: what was looked up in this run, for hosts that ask alike.
    """

    update: bool = False
    strict: bool = False
    steps: frozenset[str] = frozenset()
    forks: int = FORKS
    answers: SharedAnswers = field(default_factory=SharedAnswers, compare=False, repr=False)

    def wants(self, step: str) -> bool:
        """Whether a step is one of this run's."""
        return not self.steps or step in self.steps


def plans_card(variant: str, gpu_layers: int, devices: Sequence[str]) -> bool:
    """Whether an NVIDIA card is to work: by the build, by layers on it, or by a device that was given."""
    return variant.startswith("cuda") or gpu_layers > 0 or any(one.startswith(_NVIDIA) for one in devices)


def host_spec(name: str, connection: Connection, settings: Mapping[str, Sourced]) -> HostSpec:
    """The spec that checked ``settings`` describe.

    :raises InputError: ``gpu-needs-node`` or ``fit-wish-impossible``.
    """
    value: dict[str, Any] = {key: sourced.value for key, sourced in settings.items()}
    if value["localai_gpu"] and not value["localai_node"]:
        raise InputError(
            "gpu-needs-node",
            f"host {name} cannot be given a card: it is no VM that is made on a node",
            why=f"localai_gpu is set ({settings['localai_gpu'].source})",
            hint="name its node (--node N), or leave --gpu at none",
        )
    if value["localai_flash_attention"] == "off" and value["localai_cache_type_v"] not in UNQUANTISED:
        raise InputError(
            "fit-wish-impossible",
            f"a server on {name} cannot be started like this",
            why="a quantised value cache needs flash attention",
            hint="leave localai_flash_attention on, or localai_cache_type_v at f16",
        )
    return HostSpec(
        name=name,
        connection=connection,
        models=value["localai_models"],
        runtime=value["localai_runtime"],
        variant="cpu",
        context_length=value["localai_context_length"],
        parallel=value["localai_parallel"],
        gpu_layers=0,
        bind=value["localai_bind"],
        port=value["localai_port"],
        conda_provider=value["localai_conda_provider"],
        conda_channel=value["localai_conda_channel"],
        mirrors=value["localai_mirrors"],
        trust_first_download=value["localai_trust_first_download"],
        model_cache=value["localai_model_cache"],
        clients=value["localai_clients"],
        driver_source=value["localai_driver"],
        archives=value["localai_runtime_archives"],
        wanted_gpu_layers=value["localai_gpu_layers"],
        cache_type_k=value["localai_cache_type_k"],
        cache_type_v=value["localai_cache_type_v"],
        flash_attention=value["localai_flash_attention"] == "on",
        ubatch=value["localai_ubatch"],
    )
