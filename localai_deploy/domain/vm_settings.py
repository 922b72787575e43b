"""Host variables of a VM that is made on a Proxmox node, and variables of the nodes themselves."""

from __future__ import annotations

import ipaddress
import re

from localai_deploy.domain.node.ssh_settings import NODE_SSH_SETTINGS
from localai_deploy.domain.pve.credentials import parse_fingerprint
from localai_deploy.domain.pve.images import parse_image
from localai_deploy.domain.setting import (
    BOOLEAN_SCHEMA,
    TEXT_SCHEMA,
    Setting,
    address,
    boolean,
    integer,
    invalid,
    secret,
    text,
    texts,
)

_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_TEXTS_SCHEMA = {"type": ["array", "string"], "items": {"type": "string"}}


def _identifier(name: str, value: object) -> str:
    given = text(name, value)
    if given and not _IDENTIFIER.fullmatch(given):
        raise invalid(name, value, "letters, digits and . _ -, beginning with a letter")
    return given


def _user(name: str, value: object) -> str:
    given = text(name, value)
    if not _USER.fullmatch(given) or given == "root":
        raise invalid(name, value, "a user name other than root: small letters, digits, _ and -")
    return given


def _image(name: str, value: object) -> str:
    given = text(name, value)
    parse_image(given)
    return given


def _interface(name: str, value: object) -> str:
    given = text(name, value)
    try:
        if given and "/" not in given:
            raise ValueError("without a prefix")
        return str(ipaddress.ip_interface(given)) if given else ""
    except ValueError as error:
        raise invalid(name, value, "an address with its prefix, such as 192.0.2.7/24") from error


def _optional_address(name: str, value: object) -> str:
    return address(name, value) if value != "" else ""


def _addresses(name: str, value: object) -> tuple[str, ...]:
    return tuple(address(name, one) for one in texts(name, value))


def _fingerprint(name: str, value: object) -> str:
    return parse_fingerprint(text(name, value))


def _cards(name: str, value: object) -> tuple[str, ...]:
    from localai_deploy.domain.pve.gpu_selection import parse_selection

    return parse_selection(name, value)


def _accepted(name: str, value: object) -> tuple[str, ...]:
    from localai_deploy.domain.node.findings import CONSENTABLE

    parts = value.split(",") if isinstance(value, str) else texts(name, value)
    found = tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))
    if not CONSENTABLE.issuperset(found):
        raise invalid(name, value, f"some of {', '.join(sorted(CONSENTABLE))}")
    return found


_VMID = integer(0, 999_999_999)
_CORES = integer(1, 512)
_MEMORY = integer(512, 16_777_216)
_DISK = integer(4, 131_072)
_VLAN = integer(0, 4094)
_SECONDS = integer(30, 86_400)

VM_SETTINGS: tuple[Setting, ...] = (
    Setting("localai_node", "", "the Proxmox node on which the VM is made", _identifier, TEXT_SCHEMA),
    Setting("localai_vmid", 0, "the VM's id; 0: derived from its name", *_VMID),
    Setting("localai_cores", 4, "the VM's CPU cores", *_CORES),
    Setting("localai_memory_mib", 8192, "the VM's memory in MiB", *_MEMORY),
    Setting("localai_disk_gib", 40, "the VM's disk in GiB", *_DISK),
    Setting(
        "localai_vm_storage", "", "storage of the VM's disks; empty: the best one", _identifier, TEXT_SCHEMA
    ),
    Setting(
        "localai_image_storage",
        "",
        "storage (content import) of the disk image; empty: the best one",
        _identifier,
        TEXT_SCHEMA,
    ),
    Setting(
        "localai_seed_storage",
        "",
        "storage (content iso) of the first boot's ISO; empty: the best one",
        _identifier,
        TEXT_SCHEMA,
    ),
    Setting("localai_bridge", "vmbr0", "bridge of the VM's network card", _identifier, TEXT_SCHEMA),
    Setting("localai_vlan", 0, "VLAN tag of the VM's network card; 0: none", *_VLAN),
    Setting(
        "localai_image",
        "debian-13",
        "the VM's system: a name of the catalogue, or https://…/FILE.qcow2#sha512=…",
        _image,
        TEXT_SCHEMA,
    ),
    Setting("localai_template", 0, "id of a template to clone in place of an image; 0: none", *_VMID),
    Setting("localai_user", "admin", "the VM's user, who may become root", _user, TEXT_SCHEMA),
    Setting(
        "localai_ssh_key",
        "",
        "private SSH key for that user (its .pub lies beside it); empty: the first of ~/.ssh",
        text,
        TEXT_SCHEMA,
    ),
    Setting(
        "localai_gpu",
        (),
        "the VM's cards: address, resource mapping, card's name, auto or none; several as a list",
        _cards,
        _TEXTS_SCHEMA,
    ),
    Setting(
        "localai_gpu_accept",
        (),
        "findings about its cards that do not block: only-display, iommu-group-shared, …",
        _accepted,
        _TEXTS_SCHEMA,
    ),
    Setting("localai_address", "", "the VM's address with prefix; empty: DHCP", _interface, TEXT_SCHEMA),
    Setting("localai_gateway", "", "gateway of a static address", _optional_address, TEXT_SCHEMA),
    Setting("localai_nameservers", (), "name servers of a static address", _addresses, _TEXTS_SCHEMA),
    Setting("localai_first_boot_timeout_s", 900, "how long the first boot may take, in seconds", *_SECONDS),
)

NODE_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "localai_proxmox_host", "", "name or address of the API, with port if not 8006", text, TEXT_SCHEMA
    ),
    Setting(
        "localai_proxmox_node",
        "",
        "the node's name in its cluster; empty: the inventory's",
        _identifier,
        TEXT_SCHEMA,
    ),
    Setting("localai_proxmox_user", "", "user of the API token, with realm", text, TEXT_SCHEMA),
    Setting("localai_proxmox_token_id", "", "name of the API token", text, TEXT_SCHEMA),
    Setting(
        "localai_proxmox_token_secret",
        "",
        "the token's secret (vault it)",
        secret,
        TEXT_SCHEMA,
        secret=True,
    ),
    Setting("localai_proxmox_ca_file", "", "the cluster's CA; empty: the system's", text, TEXT_SCHEMA),
    Setting(
        "localai_proxmox_fingerprint",
        "",
        "SHA-256 of the server's certificate, in place of a CA",
        _fingerprint,
        TEXT_SCHEMA,
    ),
    Setting("localai_proxmox_insecure", False, "verify no certificate", boolean, BOOLEAN_SCHEMA),  # noqa: FBT003
    Setting(
        "localai_proxmox_guest_ssh_args",
        (),
        "ssh options to reach the node's VMs, such as -o ProxyJump=…",
        texts,
        _TEXTS_SCHEMA,
    ),
    *NODE_SSH_SETTINGS,
)
"""Variables of a host of group ``proxmox_nodes``."""
