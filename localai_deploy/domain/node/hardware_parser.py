"""What ``targets/node_hardware.sh`` prints, as a value; nothing in it is trusted to be short or sane."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from localai_deploy.domain.gpu.pci_id import PciId
from localai_deploy.domain.node.hardware import Bar, Function, Loader, NodeHardware, Region
from localai_deploy.domain.observation_sections import decode_sections, printable
from localai_deploy.domain.pci.address import PciAddress, is_address, parse_address

MOST_FUNCTIONS = 4096
MOST_WORDS = 256
_LONGEST = 200
_HEX = re.compile(r"(?:0x)?([0-9a-f]{1,16})", re.IGNORECASE)
_IOMEM = re.compile(r"\s*([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.*)")
_FRAMEBUFFER = re.compile(r"(BOOTFB|efifb|vesafb|simplefb|simpledrm|simple-framebuffer)\b", re.IGNORECASE)
_BARS = 6
_MEMORY, _UNSET, _WIDE = 0x200, 0x20000000, 0x00100000
"""IORESOURCE_MEM, IORESOURCE_UNSET and IORESOURCE_MEM_64 of linux/ioport.h."""
_KIB = 1 << 10


def parse_hardware(output: str) -> NodeHardware:
    """Read the script's output.

    :raises LocalaiError: ``host-unreadable`` when it is cut short or is something else.
    """
    found = decode_sections(output)
    cmdline = _words(found.get("cmdline", ""))
    uses_boot_tool = bool(found.get("boot_uuids", "").strip())
    loader = Loader.SYSTEMD_BOOT if uses_boot_tool and not _by_grub(cmdline) else Loader.GRUB
    is_root = found.get("uid", "").strip() == "0"
    return NodeHardware(
        kernel=_line(found.get("kernel", "")),
        functions=_functions(found),
        cmdline=cmdline,
        next_cmdline=_words(found.get("kernel_cmdline" if loader is Loader.SYSTEMD_BOOT else "grub", "")),
        framebuffers=tuple(_framebuffers(found.get("iomem", ""))) if is_root and "iomem" in found else None,
        loader=loader,
        uses_boot_tool=uses_boot_tool,
        secure_boot=_secure_boot(found.get("secure_boot", "")),
        cpu_vendor=_value(found.get("cpu", ""), r"vendor_id\s*: (\w{1,20})"),
        physical_bits=int(_value(found.get("cpu", ""), r"address sizes\s*: (\d{1,2}) bits") or 0),
        memory_available_bytes=int(_value(found.get("meminfo", ""), r"MemAvailable: +(\d{1,15})") or 0)
        * _KIB,
        prepared=tuple(one for one in _words(found.get("prepared", "")) if is_address(one)),
        is_root=is_root,
    )


def _line(text: str) -> str:
    return printable(text.strip()[:_LONGEST])


def _words(text: str) -> tuple[str, ...]:
    return tuple(printable(word[:_LONGEST]) for word in text.split()[:MOST_WORDS])


def _value(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""


def _by_grub(cmdline: tuple[str, ...]) -> bool:
    return any(word.startswith("BOOT_IMAGE=") for word in cmdline)


def _secure_boot(text: str) -> bool | None:
    """The variable's attributes are four bytes; the fifth is its value (UEFI: SecureBoot)."""
    values = text.split()
    return {"01": True, "00": False}.get(values[4]) if len(values) == 5 else None


def _functions(found: Mapping[str, str]) -> tuple[Function, ...]:
    groups = dict(_pairs(found.get("groups", "")))
    drivers = dict(_pairs(found.get("drivers", "")))
    lines = found.get("pci", "").splitlines()[:MOST_FUNCTIONS]
    functions = (_function(line.split("|"), groups, drivers) for line in lines)
    return tuple(one for one in functions if one is not None)


def _pairs(text: str) -> Iterator[tuple[PciAddress, str]]:
    """Lines of an address and a word that belongs to it."""
    for line in text.splitlines()[: 2 * MOST_FUNCTIONS]:
        address, _, word = line.partition(" ")
        if is_address(address):
            yield parse_address(address), _line(word)


def _function(
    fields: list[str], groups: Mapping[PciAddress, str], drivers: Mapping[PciAddress, str]
) -> Function | None:
    if len(fields) != 10 or not is_address(fields[0]):
        return None
    place, *numbers, boot_display, override, resets, resources = fields
    class_id, vendor, device, subvendor, subdevice = (_number(text) for text in numbers)
    if class_id is None or vendor is None or device is None or max(vendor, device) > 0xFFFF:
        return None
    address = parse_address(place)
    group = groups.get(address, "")
    return Function(
        address=address,
        class_id=class_id,
        pci_id=_pci_id(vendor, device, subvendor, subdevice),
        iommu_group=int(group) if group.isdecimal() and len(group) < 10 else None,
        driver=drivers.get(address, ""),
        override="" if override == "(null)" else _line(override),
        is_boot_display=boot_display == "1",
        reset_methods=_words(resets)[:16],
        bars=tuple(_bars(resources)),
    )


def _pci_id(vendor: int, device: int, subvendor: int | None, subdevice: int | None) -> PciId:
    if not subvendor or not subdevice or max(subvendor, subdevice) > 0xFFFF:
        return PciId(vendor, device)
    return PciId(vendor, device, subvendor, subdevice)


def _number(text: str) -> int | None:
    match = _HEX.fullmatch(text)
    return int(match[1], 16) if match else None


def _bars(text: str) -> Iterator[Bar]:
    """The first six lines of sysfs' ``resource``: start, end and flags each; later ones are the ROM's."""
    for index, line in enumerate(text.split(",")[:_BARS]):
        numbers = [_number(word) for word in line.split()]
        if len(numbers) != 3 or None in numbers:
            continue
        start, end, flags = (number or 0 for number in numbers)
        if flags & _MEMORY and end >= start:
            yield Bar(index, start, end - start + 1, bool(flags & _WIDE), not flags & _UNSET)


def _framebuffers(text: str) -> Iterator[Region]:
    for line in text.splitlines()[: 8 * MOST_FUNCTIONS]:
        match = _IOMEM.fullmatch(line)
        if match and _FRAMEBUFFER.match(match[3]):
            yield Region(int(match[1], 16), int(match[2], 16), _line(match[3]))
