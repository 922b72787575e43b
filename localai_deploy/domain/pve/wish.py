"""Everything about one wanted VM, with nothing left to look up on the controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.images import CloudImage, parse_image
from localai_deploy.domain.pve.ownership import OwnershipBlock
from localai_deploy.domain.pve.seed import StaticAddress
from localai_deploy.domain.pve.sizing import VmSize
from localai_deploy.domain.pve.vm import VmSpec
from localai_deploy.domain.settings import Sourced

_DEFAULT = "default"
_SPEC_SETTINGS = {
    "cores": "localai_cores",
    "memory_mib": "localai_memory_mib",
    "disk_gib": "localai_disk_gib",
    "vm_storage": "localai_vm_storage",
    "image_storage": "localai_image_storage",
    "seed_storage": "localai_seed_storage",
    "bridge": "localai_bridge",
    "vlan": "localai_vlan",
    "vmid": "localai_vmid",
    "image": "localai_image",
    "template": "localai_template",
    "user": "localai_user",
    "static": "localai_address",
    "gpus": "localai_gpu",
    "accepted": "localai_gpu_accept",
}
"""Field of the spec → the setting that gives it."""


@dataclass(frozen=True, slots=True)
class VmWish:
    """One VM as it is asked for.

    :param given: fields of the spec that somebody set; the others are taken from the VM if it is there.
    :param authorized_keys: public keys of the guest's user; empty when none was found.
    :param private_key_file: the key to log in with; empty leaves it to ssh.
    :param node_login: how the node itself may be looked at; ``None``: not at all.
    """

    spec: VmSpec
    node: NodeConnection
    given: frozenset[str] = frozenset()
    authorized_keys: tuple[str, ...] = ()
    private_key_file: str = ""
    first_boot_timeout_s: int = 900
    mirrors: Mirrors = field(default_factory=Mirrors)
    node_login: Connection | None = None

    @property
    def image(self) -> CloudImage:
        """The spec's image, by way of the mirror if there is one."""
        image = parse_image(self.spec.image)
        return replace(image, url=self.mirrors.image_url(image.url))

    def for_vm(self, block: OwnershipBlock) -> VmWish:
        """The wish for a VM that is there: what nobody set stays as it was recorded."""
        return replace(self, spec=recorded_spec(self.spec, block.spec, self.given))

    @property
    def may_grow(self) -> bool:
        """Nobody set how much memory it is to have."""
        return "memory_mib" not in self.given

    def at_least(self, size: VmSize) -> VmWish:
        """The wish for a VM with room for its model; what somebody set stays."""
        larger = {
            name: least
            for name in ("memory_mib", "disk_gib")
            if name not in self.given and (least := getattr(size, name)) > getattr(self.spec, name)
        }
        return replace(self, spec=replace(self.spec, **larger))


def vm_spec(name: str, node: str, settings: Mapping[str, Sourced]) -> tuple[VmSpec, frozenset[str]]:
    """The spec that checked settings describe, and which of its fields somebody set.

    :raises InputError: ``vm-name-invalid``, ``guest-address-invalid``.
    """
    values = {key: settings[setting].value for key, setting in _SPEC_SETTINGS.items()}
    values["static"] = _static(settings)
    given = {key for key, setting in _SPEC_SETTINGS.items() if settings[setting].source != _DEFAULT}
    return VmSpec(name=name, node=node, **values), frozenset(given)


def _static(settings: Mapping[str, Sourced]) -> StaticAddress | None:
    address = settings["localai_address"].value
    if not address:
        return None
    return StaticAddress(
        address, settings["localai_gateway"].value, tuple(settings["localai_nameservers"].value)
    )


def recorded_spec(spec: VmSpec, recorded: Mapping[str, Any], given: frozenset[str]) -> VmSpec:
    """``spec`` with the recorded values of all fields that are not ``given``; unknown ones are left out."""
    known = {one.name for one in fields(VmSpec)} - given - {"name", "node"}
    values = {key: value for key, value in recorded.items() if key in known}
    if isinstance(values.get("static"), Mapping):
        static = dict(values["static"])
        values["static"] = StaticAddress(**static | {"nameservers": tuple(static.get("nameservers", ()))})
    for key in {"gpus", "accepted"} & set(values):
        values[key] = tuple(str(one) for one in values[key])
    return replace(spec, **values)
