"""What a host is held against: the inventory's ``localai_expected``, typed."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from localai_deploy.domain import paths
from localai_deploy.domain.deployment import is_our_record
from localai_deploy.domain.gateway import Gateway
from localai_deploy.domain.spec import plans_card

VARIABLE = "localai_expected"


class ExpectationsInvalid(Exception):  # noqa: N818 - reads as what happened
    """The inventory's ``localai_expected`` cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class ExpectedPackage:
    """A package of the lock; ``sha256`` is the archive's."""

    version: str
    build: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Expected:
    """One host's expectations.

    :param record: the ownership record, as it must lie on the host.
    :param packages: all packages of the environment, by name.
    :param model_sha256: model's file name → hash in hex; empty when nobody knows it yet.
    :param command: the service's argument list; ``{api_key_file}`` stands for the credential's path.
    :param open_paths: what answers without a key, all of it.
    :param devices: vendor and device (``10de:2684``) of each function that was passed through.
    :param gateway: what it runs as the host of group ``gateway``.
    :param gpu_memory_bytes: model, cache and compute memory that the plan has on cards; 0: it tells none.
    """

    record: Mapping[str, Any]
    packages: Mapping[str, ExpectedPackage]
    model_sha256: Mapping[str, str]
    prefix: str
    service_name: str
    bind: str
    port: int
    command: Sequence[str]
    health_path: str
    open_paths: Sequence[str]
    context_length: int
    parallel: int
    package: str
    devices: Sequence[str] = ()
    gateway: Gateway | None = None
    runtime: str = ""
    variant: str = "cpu"
    gpu_layers: int = 0
    gpu_memory_bytes: int = 0

    @property
    def plans_card(self) -> bool:
        """Whether an NVIDIA card is to do the work, so that a host without one fails."""
        return plans_card(self.variant, self.gpu_layers, self.devices)

    @property
    def unit(self) -> str:
        """The unit's full name."""
        return f"{self.service_name}.service"

    @property
    def runtime_package(self) -> tuple[str, str, str]:
        """Name, version and build of the package that holds the server."""
        name, version, build = self.package.split()
        return name, version, build

    @property
    def alias(self) -> str:
        """The name under which the API serves the model."""
        return option_value(self.command, "--alias")

    @property
    def model_paths(self) -> dict[str, str]:
        """Model's file name → path on the host; the first one is served."""
        return {name: f"{paths.MODEL_STORE_DIR}/{name}" for name in self.model_sha256}

    @property
    def connect_address(self) -> str:
        """Where the host reaches its own API: the bound address, loopback for all addresses."""
        return connect_address(self.bind)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Expected:
        """Read ``localai_expected``.

        :raises ExpectationsInvalid: a part is missing or foreign.
        """
        try:
            record, service = data["record"], data["record"]["service"]
            if not is_our_record(record):
                raise _invalid("its record is not one that this version of localai-deploy makes")
            expected = cls(
                record=record,
                packages={name: ExpectedPackage(**one) for name, one in data["packages"].items()},
                model_sha256=dict(data["model_sha256"]),
                prefix=record["prefix"],
                service_name=service["name"],
                bind=service["bind"],
                port=service["port"],
                command=service["command"],
                health_path=service["health_path"],
                open_paths=service["open_paths"],
                context_length=record["context_length"],
                parallel=record["parallel"],
                package=record["package"],
                devices=tuple(record.get("devices", ())),
                gateway=Gateway.from_record(record["gateway"]) if "gateway" in record else None,
                runtime=record["runtime"],
                variant=record["variant"],
                gpu_layers=record["gpu_layers"],
                gpu_memory_bytes=record.get("gpu_memory_bytes", 0),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise _invalid(f"{type(error).__name__}: {error}") from error
        return expected.checked()

    def checked(self) -> Expected:
        """Itself; an expectation that nothing could violate is refused.

        :raises ExpectationsInvalid: it would pass whatever the host is.
        """
        for name, value in {
            "packages": self.packages,
            "model_sha256": self.model_sha256,
            "record.service.command": self.command,
            "--alias in the command": self.alias,
        }.items():
            if not value:
                raise _invalid(f"{name} is empty")
        return self


def connect_address(bind: str) -> str:
    """``bind``, or loopback for all addresses."""
    address = ipaddress.ip_address(bind)
    if not address.is_unspecified:
        return bind
    return "127.0.0.1" if address.version == 4 else "::1"


def option_value(arguments: Sequence[str], option: str) -> str:
    """The word after ``option``; empty when the option is not there."""
    return dict(pairwise(arguments)).get(option, "")


def _invalid(why: str) -> ExpectationsInvalid:
    return ExpectationsInvalid(f"the inventory's {VARIABLE} cannot be used: {why}")
