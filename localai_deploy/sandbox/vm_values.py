"""Values of a VM's configuration: drives, network cards, boot order, tags, keys."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from typing import Any
from urllib.parse import unquote

from localai_deploy.sandbox.answers import died
from localai_deploy.sandbox.release import Release
from localai_deploy.sandbox.tables.drives import DRIVE_NAMES, DRIVES
from localai_deploy.sandbox.tables.vm_options import VM_OPTIONS
from localai_deploy.sandbox.verification import Values, find_param, parse_properties

NEW_DISK = re.compile(r"(?:([^/:\s]+):)?(\d+(?:\.\d+)?)")
_DRIVES = frozenset(DRIVE_NAMES.split())
_KEY_TYPES = ("ssh-", "ecdsa-", "sk-")


def is_drive(name: str) -> bool:
    """Whether an option is a slot for a disk."""
    return name in _DRIVES


def option_exists(name: str) -> bool:
    """Whether a VM can have such an option."""
    return find_param(VM_OPTIONS, name) is not None


def parse(name: str, value: str, release: Release) -> Values:
    """A structured option by its own keys."""
    row = find_param(DRIVES if is_drive(name) or name.startswith("unused") else VM_OPTIONS, name)
    return parse_properties(value, row.properties, release) if row is not None else {}


def print_drive(drive: Values) -> str:
    """The string of a drive: the volume, then the other keys in order."""
    return ",".join([drive["file"], *(f"{key}={drive[key]}" for key in sorted(drive) if key != "file")])


def is_cdrom(drive: Values) -> bool:
    """Whether a drive holds a disc, or the data of cloud-init."""
    return drive.get("media") == "cdrom" or is_cloudinit(drive) or drive["file"] == "cdrom"


def is_cloudinit(drive: Values) -> bool:
    """Whether a drive is, or asks for, the one that the node fills with cloud-init data."""
    return bool(re.search(r"(^|:)cloudinit$|vm-\d+-cloudinit(\.qcow2)?$", drive["file"]))


def print_net(net: Values) -> str:
    """The string of a network card, with a new MAC address where it has none."""
    mac = (net.get("macaddr") or new_mac()).upper()
    rest = (f"{key}={net[key]}" for key in sorted(net) if key not in {"model", "macaddr"})
    return ",".join([f"{net['model']}={mac}", *rest])


def new_mac() -> str:
    """A random address with Proxmox's prefix."""
    return "BC:24:11:" + ":".join(f"{byte:02X}" for byte in secrets.token_bytes(3))


def boot_order(config: dict[str, Any], release: Release) -> list[str]:
    """Devices in the order that the VM tries them."""
    if "boot" not in config:
        return default_boot_order(config, release)
    order = parse("boot", config["boot"], release).get("order", "")
    return [device for device in order.split(";") if device]


def default_boot_order(config: dict[str, Any], release: Release) -> list[str]:
    """First disk, first CD drive, first network card."""
    disks: list[str] = []
    cdroms: list[str] = []
    for name in DRIVE_NAMES.split():
        if name in config and not name.startswith(("efidisk", "tpmstate")):
            (cdroms if is_cdrom(parse(name, config[name], release)) else disks).append(name)
    nets = sorted((n for n in config if re.fullmatch(r"net\d+", n)), key=lambda n: int(n[3:]))
    return [*disks[:1], *cdroms[:1], *nets[:1]]


def print_boot_order(devices: list[str]) -> str:
    """The string of a boot order; empty without devices."""
    return "order=" + ";".join(devices) if devices else ""


def shown_tags(value: str, release: Release) -> str:
    """Tags as the release stores them: sorted and unique from 9 on."""
    tags = [tag for tag in re.split(r"[,;\s]+", value) if tag]
    if release.major < 9:
        return value
    unique: dict[str, str] = {}
    for tag in tags:
        unique.setdefault(tag.lower(), tag)
    return ";".join(unique[key] for key in sorted(unique))


def check_ssh_keys(value: str) -> None:
    """Raises the 500 for text that is no list of public keys; `value` is URL-encoded."""
    for line in unquote(value).splitlines():
        if line.strip() and not line.lstrip().startswith("#") and not _is_key(line):
            raise died("SSH public key validation error")


def _is_key(line: str) -> bool:
    words = line.split()
    kind = next((i for i, word in enumerate(words) if word.startswith(_KEY_TYPES)), None)
    if kind is None or kind + 1 >= len(words):
        return False
    try:
        blob = base64.b64decode(words[kind + 1], validate=True)
    except (binascii.Error, ValueError):
        return False
    return blob[4 : 4 + len(words[kind])] == words[kind].encode()
