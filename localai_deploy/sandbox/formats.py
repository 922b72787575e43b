"""Checks of named formats, with the server's texts; each raises FormatError."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable


class FormatError(Exception):
    """A value that does not fit its format; the text is the server's, line ends included."""


def _matching(pattern: str, text: str) -> Callable[[str], None]:
    compiled = re.compile(pattern)

    def check(value: str) -> None:
        if not compiled.fullmatch(value):
            raise FormatError(text.replace("{}", value) + "\n")

    return check


def _cidr(value: str) -> None:
    try:
        ipaddress.IPv4Interface(value)
    except ValueError:
        raise FormatError("value does not look like a valid IPv4 network\n") from None
    if "/" not in value:
        raise FormatError("value does not look like a valid IPv4 network\n")


def _config_address(value: str) -> None:
    if value != "dhcp":
        try:
            _cidr(value)
        except FormatError:
            raise FormatError("value does not look like a valid ipv4 network configuration\n") from None


def _ipv4(value: str) -> None:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        raise FormatError("value does not look like a valid IPv4 address\n") from None


def _ipv6(value: str) -> None:
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        raise FormatError("value does not look like a valid IPv6 address\n") from None


def _config_address6(value: str) -> None:
    if value in {"auto", "dhcp"}:
        return
    try:
        ipaddress.IPv6Interface(value)
    except ValueError:
        raise FormatError("value does not look like a valid ipv6 network configuration\n") from None


_DNS_LABEL = r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DRIVE = r"(ide[0-3]|sata[0-5]|scsi([0-9]|[12][0-9]|30)|virtio([0-9]|1[0-5]))"
_DEVICE = rf"(?:{_DRIVE}|net([0-9]|[12][0-9]|3[01])|usb([0-9]|1[0-3])|hostpci([0-9]|1[0-5]))"
_SAFE_ID = r"[a-zA-Z][a-zA-Z0-9_-]+"


def _boot_order(value: str) -> None:
    for device in filter(None, re.split(r"[;,\s]+", value)):
        if not re.fullmatch(_DEVICE, device):
            raise FormatError(f"invalid boot device '{device}'\n")


def _volume(value: str) -> None:
    if value not in {"none", "cdrom", "cloudinit"} and not value.startswith("/"):
        _matching(r"(?:[a-zA-Z][a-zA-Z0-9._-]*:.+|\d+(\.\d+)?)", "unable to parse volume ID '{}'")(value)


CHECKS: dict[str, Callable[[str], None]] = {
    "CIDRv4": _cidr,
    "dns-name": _matching(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*", "value does not look like a valid DNS name"),
    "disk-size": _matching(r"\d+(\.\d+)?[KMGT]?", "value does not look like a valid disk size: {}"),
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "mac-addr": _matching(
        r"[a-fA-F0-9][02468aceACE][:]([a-fA-F0-9]{2}[:]){4}[a-fA-F0-9]{2}",
        "value does not look like a valid unicast MAC address",
    ),
    "pve-boot-order": _boot_order,
    "pve-bridge-id": _matching(r"[-_.\w\d]+", "invalid bridge name '{}'"),
    "pve-configid": _matching(_SAFE_ID, "invalid configuration ID '{}'"),
    "pve-groupid": _matching(r"[A-Za-z0-9._-]+", "group name '{}' contains invalid characters"),
    "pve-ipv4-config": _config_address,
    "pve-ipv6-config": _config_address6,
    "pve-node": _matching(
        r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?", "value does not look like a valid node name"
    ),
    "pve-poolid": _matching(
        r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,2}", "pool name '{}' contains invalid characters"
    ),
    "pve-realm": _matching(r"[a-zA-Z][a-zA-Z0-9._-]+", "value does not look like a valid realm"),
    "pve-roleid": _matching(r"[A-Za-z0-9._-]+", "role name '{}' contains invalid characters"),
    "pve-snapshot-name": _matching(_SAFE_ID, "invalid configuration ID '{}'"),
    "pve-storage-id": _matching(
        r"[a-zA-Z][a-zA-Z0-9._-]*[a-zA-Z0-9]", "storage ID '{}' contains illegal characters"
    ),
    "pve-tag": _matching(r"[a-zA-Z0-9_][a-zA-Z0-9_+.-]*", "invalid characters in tag"),
    "pve-tokenid": _matching(
        r"[^\s:/]+@[a-zA-Z][a-zA-Z0-9._-]+![a-zA-Z][a-zA-Z0-9._-]+",
        "value '{}' does not look like a valid token ID",
    ),
    "pve-userid": _matching(
        r"[^\s:/]+@[a-zA-Z][a-zA-Z0-9._-]+", "value '{}' does not look like a valid user name"
    ),
    "pve-vmid": _matching(r"[1-9][0-9]{2,8}", "value does not look like a valid VM ID"),
    "pve-volume-id-or-qm-path": _volume,
    "urlencoded": _matching(r"[-%a-zA-Z0-9_.!~*'()]*", "invalid urlencoded string: {}"),
}


def check_format(name: str, value: str, privileges: frozenset[str]) -> None:
    """Raises FormatError; formats that the node does not know accept everything.

    `NAME-list` holds values between commas, semicolons or blanks; `NAME-opt` may be empty.
    """
    if name.endswith("-opt"):
        if value:
            check_format(name.removesuffix("-opt"), value, privileges)
    elif name.endswith("-list"):
        for item in filter(None, re.split(r"[,;\s\0]+", value)):
            check_format(name.removesuffix("-list"), item, privileges)
    elif name == "pve-priv":
        if value not in privileges:
            raise FormatError(f"invalid privilege '{value}'\n")
    elif name in CHECKS:
        CHECKS[name](value)
