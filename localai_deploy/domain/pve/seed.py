"""What a guest is told at its first boot (cloud-init, NoCloud). No secret is ever part of it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localai_deploy.errors import InputError

AGENT_PACKAGE = "qemu-guest-agent"
VOLUME_LABEL = "cidata"
_SEED_VOLUME = re.compile(r"[^:]+:iso/localai-seed-(?P<name>[a-z0-9-]+)-(?P<uuid>[0-9a-f]{8})\.iso")


@dataclass(frozen=True, slots=True)
class StaticAddress:
    """An address with prefix (``192.0.2.7/24``), its gateway and name servers."""

    address: str
    gateway: str = ""
    nameservers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            interface = ipaddress.ip_interface(self.address)
            gateway = ipaddress.ip_address(self.gateway) if self.gateway else None
            for server in self.nameservers:
                ipaddress.ip_address(server)
        except ValueError as error:
            raise InputError(
                "guest-address-invalid", f"guest address {self.address!r}", why=str(error)
            ) from error
        if "/" not in self.address:
            raise InputError(
                "guest-address-invalid", f"guest address {self.address!r}", why="the prefix (/24) is missing"
            )
        if gateway is not None and gateway not in interface.network:
            raise InputError(
                "guest-address-invalid",
                f"gateway {self.gateway} is outside {interface.network}",
                why="Proxmox would accept it, and the guest would have no way out",
            )


@dataclass(frozen=True, slots=True)
class Seed:
    """What is in the seed ISO.

    :param instance_id: changes exactly when the VM is another one (its UUID).
    :param authorized_keys: public keys of the user.
    :param packages: installed at first boot; the agent is among them, as stock images lack it.
    :param apt_mirror: URL of the archive that replaces the system's own (``BASE/debian``,
        ``BASE/ubuntu``); empty: its own.
    """

    instance_id: str
    hostname: str
    user: str
    mac: str
    authorized_keys: tuple[str, ...]
    packages: tuple[str, ...] = (AGENT_PACKAGE,)
    static: StaticAddress | None = None
    apt_mirror: str = ""

    def documents(self) -> dict[str, Mapping[str, Any]]:
        """File name → document, as data; ``user-data`` gets cloud-init's first line when it is written."""
        return {
            "meta-data": {"instance-id": self.instance_id, "local-hostname": self.hostname},
            "user-data": self._user_data(),
            "network-config": self._network(),
        }

    def _user_data(self) -> dict[str, Any]:
        return {
            "hostname": self.hostname,
            "ssh_pwauth": False,
            "disable_root": True,
            "users": [
                {
                    "name": self.user,
                    "gecos": "localai-deploy",
                    "groups": ["sudo"],
                    "shell": "/bin/bash",
                    "lock_passwd": True,
                    "sudo": "ALL=(ALL) NOPASSWD:ALL",
                    "ssh_authorized_keys": list(self.authorized_keys),
                }
            ],
            **self._apt(),
            "package_update": True,
            "package_upgrade": False,
            "packages": list(self.packages),
            "runcmd": [["systemctl", "enable", "--now", AGENT_PACKAGE]],
        }

    def _apt(self) -> dict[str, Any]:
        """Debian keeps security updates in an archive beside its own, Ubuntu in the same one."""
        if not self.apt_mirror:
            return {}
        security = f"{self.apt_mirror}-security" if self.apt_mirror.endswith("/debian") else self.apt_mirror
        archives = {"primary": self.apt_mirror, "security": security}
        return {
            "apt": {
                "preserve_sources_list": False,
                **{name: [{"arches": ["default"], "uri": uri}] for name, uri in archives.items()},
            }
        }

    def _network(self) -> dict[str, Any]:
        card: dict[str, Any] = {"match": {"macaddress": self.mac.lower()}}
        if self.static is None:
            card["dhcp4"] = True
        else:
            card["addresses"] = [self.static.address]
            if self.static.gateway:
                card["routes"] = [{"to": "default", "via": self.static.gateway}]
            if self.static.nameservers:
                card["nameservers"] = {"addresses": list(self.static.nameservers)}
        return {"version": 2, "ethernets": {"uplink": card}}


def seed_file_name(name: str, uuid: str) -> str:
    """What the ISO of a VM is called on its storage."""
    return f"localai-seed-{name}-{uuid[:8]}.iso"


def is_seed_volume(volume: str) -> bool:
    """Whether a volume id is that of an ISO of ours."""
    return _SEED_VOLUME.fullmatch(volume) is not None


def seed_volume_name(volume: str) -> str:
    """The name of the VM for which a seed was made; empty for anything else."""
    match = _SEED_VOLUME.fullmatch(volume)
    return match["name"] if match else ""


def check_public_keys(keys: Sequence[str]) -> tuple[str, ...]:
    """Public keys, one a line, as ``authorized_keys`` has them.

    :raises InputError: ``ssh-key-invalid``: none, or a private key was given.
    """
    if not keys:
        raise InputError(
            "ssh-key-missing",
            "no public SSH key is known for the guest's user",
            hint="make one (ssh-keygen -t ed25519), or name it with localai_ssh_public_key",
        )
    for key in keys:
        if "PRIVATE KEY" in key or not key.startswith(("ssh-", "ecdsa-", "sk-")) or "\n" in key.strip():
            raise InputError(
                "ssh-key-invalid",
                "that is no public SSH key",
                why=f"it begins with {key[:20]!r}" if "PRIVATE" not in key else "it is a private key",
                hint="give the .pub file",
            )
    return tuple(key.strip() for key in keys)
