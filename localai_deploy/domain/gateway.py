"""A gateway: one API for several hosts that serve the same model (role ``gateway``)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any

from localai_deploy.domain.reference import parse_model_reference, repository_of
from localai_deploy.domain.settings import Sourced
from localai_deploy.errors import InputError


@dataclass(frozen=True, slots=True)
class Replica:
    """A host that the gateway gives requests to.

    :param address: that its API listens on.
    :param model: the name under which it serves its model.
    """

    name: str
    address: str
    port: int
    model: str

    @property
    def url(self) -> str:
        """Base URL of its API."""
        return _url(self.address, self.port)


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the host of group ``gateway`` runs besides its own server.

    :param clients: addresses and networks that may reach it, when it listens beyond loopback.
    """

    bind: str
    port: int
    clients: tuple[str, ...]
    replicas: tuple[Replica, ...]

    @property
    def endpoint(self) -> str:
        """Base URL of the API as the host itself reaches it."""
        return _url(self.bind, self.port)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that it serves, sorted."""
        return tuple(sorted({replica.model for replica in self.replicas}))

    def record(self) -> dict[str, Any]:
        """Plain data of the ownership record."""
        return {
            "bind": self.bind,
            "port": self.port,
            "clients": list(self.clients),
            "replicas": [asdict(replica) for replica in self.replicas],
        }

    @classmethod
    def from_record(cls, data: Mapping[str, Any]) -> Gateway:
        """Inverse of :meth:`record`.

        :raises KeyError, TypeError: a part is missing or foreign.
        """
        replicas = tuple(Replica(**replica) for replica in data["replicas"])
        return cls(data["bind"], data["port"], tuple(data["clients"]), replicas)


def gateway_host(gateways: Sequence[str], replicas: Sequence[str], inventory: str) -> str:
    """The one host of group ``gateway``.

    :param gateways: hosts of that group.
    :param replicas: hosts of group ``inference``.
    :raises InputError: ``gateway-several``, ``gateway-not-inference``.
    """
    if len(gateways) > 1:
        raise InputError(
            "gateway-several",
            f"group gateway of {inventory} has {len(gateways)} hosts: {', '.join(gateways)}",
            hint="leave one of them in it",
        )
    if gateways[0] not in replicas:
        raise InputError(
            "gateway-not-inference",
            f"{gateways[0]}, the host of group gateway in {inventory}, is not in group inference",
            why="up makes a gateway of a host that serves a model, too",
            hint="add it to group inference, or use role gateway by itself (docs/gateway.md)",
        )
    return gateways[0]


def gateway_of(own: Mapping[str, Sourced], replicas: Mapping[str, Mapping[str, Sourced]]) -> Gateway:
    """The gateway that settings describe.

    :param own: settings of the gateway's host.
    :param replicas: settings of each host of group ``inference`` by name.
    :raises InputError: ``gateway-model-open``.
    """
    return Gateway(
        bind=own["localai_api_gateway_bind"].value,
        port=own["localai_api_gateway_port"].value,
        clients=own["localai_api_gateway_clients"].value,
        replicas=tuple(_replica(name, one) for name, one in replicas.items()),
    )


def _replica(name: str, settings: Mapping[str, Sourced]) -> Replica:
    models = settings["localai_models"].value
    if not models or repository_of(models[0]):
        raise InputError(
            "gateway-model-open",
            f"which model {name} serves is left open, and a gateway stands before it",
            why="the gateway must know each host's model by name before the host is looked at",
            hint="name a file in localai_models: hf:ORG/REPO/FILE.gguf, or a name of `model catalogue`",
        )
    model = PurePosixPath(parse_model_reference(models[0]).file_name).stem
    return Replica(name, settings["localai_bind"].value, settings["localai_port"].value, model)


def out_of_reach(gateway: Gateway, host: str) -> Iterator[Replica]:
    """Replicas on other machines than ``host``, the gateway's, that listen on no address of the network."""
    for replica in gateway.replicas:
        address = ipaddress.ip_address(replica.address)
        if address.is_unspecified or (address.is_loopback and replica.name != host):
            yield replica


def _url(address: str, port: int) -> str:
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}"
