"""What is wanted: one typed value per host, made by the inventory reader from settings."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.gateway import Gateway
from localai_deploy.domain.lock import Variant
from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.settings import Sourced
from localai_deploy.errors import InputError


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One host as it should be; ``models[0]`` is served.

    :param models: model references as written, at least one.
    :param gpu_layers: layers on the card (``-ngl``); 0 without a card.
    :param context_length: tokens, shared by ``parallel`` slots.
    :param devices: vendor and device (``10de:2684``) of what was passed through to it, sorted.
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

    @property
    def channel_url(self) -> str:
        """Base URL of the conda channel, below which the lock's URLs lie."""
        return f"{self.mirrors.conda}/{self.conda_channel}"

    @property
    def binds_beyond_loopback(self) -> bool:
        """Whether others than the host itself could reach the API."""
        return not ipaddress.ip_address(self.bind).is_loopback


@dataclass(frozen=True, slots=True)
class Choices:
    """What is asked of the tool in this run, apart from the hosts themselves.

    :param update: look for newer packages and model revisions instead of those recorded.
    :param strict: what could not be looked at blocks a plan.
    """

    update: bool = False
    strict: bool = False


def host_spec(name: str, connection: Connection, settings: Mapping[str, Sourced]) -> HostSpec:
    """The spec that checked ``settings`` describe.

    :raises InputError: ``model-missing`` when no model is named; ``gpu-needs-node``.
    """
    value: dict[str, Any] = {key: sourced.value for key, sourced in settings.items()}
    if not value["localai_models"]:
        raise InputError(
            "model-missing",
            f"no model is named for host {name}",
            why="neither --model nor localai_models in the inventory names one",
            hint="add --model hf:ORG/REPO/FILE.gguf (see: localai-deploy explain model-missing)",
        )
    if value["localai_gpu"] and not value["localai_node"]:
        raise InputError(
            "gpu-needs-node",
            f"host {name} cannot be given a card: it is no VM that is made on a node",
            why=f"localai_gpu is set ({settings['localai_gpu'].source})",
            hint="name its node (--node N), or leave --gpu at none",
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
    )
