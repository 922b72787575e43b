"""A VM's configuration as QEMU's command line. Pure: nothing is looked at, nothing is started.

Devices carry the names of their slots (`scsi0`, `net0`), so that they can be taken away by them.
Sockets and the serial port's log are named relative to the folder that QEMU is started in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.sandbox.body import GuestPlan

QMP_SOCKET = "qmp.sock"
AGENT_SOCKET = "agent.sock"
SERIAL_LOG = "serial.log"
_NETWORK_PORTS = 4
"""Network cards sit behind PCI Express ports, where the guest notices that one comes or goes."""
_SCSI = re.compile(r"scsi\d+")
_DISK = re.compile(r"(scsi|virtio|sata|ide)\d+")
_CARD = re.compile(r"net(\d+)")
_MAC = re.compile(r"(\w[\w-]*)=((?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})")
_CARDS = {"virtio": "virtio-net-pci"}
_CONTROLLERS = {
    "virtio-scsi-pci": "virtio-scsi-pci",
    "virtio-scsi-single": "virtio-scsi-pci",
    "pvscsi": "pvscsi",
    "megasas": "megasas",
    "lsi53c810": "lsi53c810",
}
_DEFAULT_MEMORY_MIB = 512

Options = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine gives to guests.

    :param kvm: a stock kernel really boots under KVM here; else the CPU is emulated.
    :param code: the firmware.
    :param variables: a file of the firmware's variables for VMs without `efidisk0`.
    """

    kvm: bool
    code: str
    variables: str


@dataclass(frozen=True, slots=True)
class Card:
    """A network card by its slot; `tap` is the device that it is joined to, `bus` its place if it has one."""

    slot: str
    driver: str
    mac: str
    tap: str
    bus: str = ""

    def backend(self) -> Options:
        """For ``-netdev`` and ``netdev_add``."""
        return {"type": "tap", "id": self.slot, "ifname": self.tap, "script": "no", "downscript": "no"}

    def device(self) -> Options:
        """For ``-device`` and ``device_add``."""
        place = {"bus": self.bus} if self.bus else {}
        return {"driver": self.driver, "id": self.slot, "netdev": self.slot, "mac": self.mac, **place}


@dataclass(frozen=True, slots=True)
class Drive:
    """A disk or a disc by its slot. `boot_index` is its place in the boot order, if it has one."""

    slot: str
    file: str
    is_disc: bool = False
    boot_index: int | None = None

    @property
    def format(self) -> str:
        """As QEMU names it, by the file's name."""
        found = self.file.rpartition(".")[2]
        return found if found in {"qcow2", "vmdk"} else "raw"

    def backend(self) -> Options:
        """For ``-blockdev`` and ``blockdev-add``: nothing is written through, a sandbox is thrown away."""
        cache = {"direct": False, "no-flush": True}
        file = {"driver": "file", "filename": self.file, "cache": cache}
        options: Options = {"driver": self.format, "node-name": self.slot, "cache": cache, "file": file}
        return options | ({"read-only": True} if self.is_disc else {"discard": "unmap"})

    def device(self) -> Options:
        """For ``-device`` and ``device_add``."""
        kind = "cd" if self.is_disc else "hd"
        options: Options = {"id": self.slot, "drive": self.slot}
        if _SCSI.fullmatch(self.slot):
            options |= {"driver": f"scsi-{kind}", "bus": "scsihw.0", "scsi-id": int(self.slot[4:])}
        elif self.slot.startswith("virtio"):
            options |= {"driver": "virtio-blk-pci"}
        else:
            options |= {"driver": f"ide-{kind}"}
        return options | ({} if self.boot_index is None else {"bootindex": self.boot_index})


@dataclass(frozen=True)
class GuestCommand:
    """The command of one guest.

    :param taps: name of the tap device by network slot.
    :param without: slots that are left out, also of `drives` and `cards`.
    """

    plan: GuestPlan
    machine: Machine
    taps: Mapping[str, str]
    without: frozenset[str] = field(default_factory=frozenset)

    @property
    def memory_mib(self) -> int:
        """Memory of the guest."""
        memory = properties(self.plan.config.get("memory", _DEFAULT_MEMORY_MIB), "current")
        return int(memory["current"])

    @property
    def cpus(self) -> tuple[int, int]:
        """Sockets, and cores of each."""
        return int(self.plan.config.get("sockets", 1)), int(self.plan.config.get("cores", 1))

    @property
    def cpu(self) -> str:
        """The CPU's model; an emulated one has all that can be emulated, five-level page tables excepted."""
        if not self.machine.kvm:
            return "max,la57=off"
        asked = str(properties(self.plan.config.get("cpu", "host"), "cputype").get("cputype", "host"))
        return asked if asked in {"host", "max", "kvm64", "qemu64"} else "host"

    def drives(self) -> list[Drive]:
        """Disks and discs, in the order of their slots."""
        slots = (slot for slot in sorted(self.plan.disks) if _DISK.fullmatch(slot))
        return [self._drive(slot) for slot in slots if slot not in self.without]

    def cards(self) -> list[Card]:
        """Network cards."""
        return [self._card(slot) for slot in card_slots(self.plan.config) if slot not in self.without]

    def argv(self) -> list[str]:
        """The words of the command."""
        return ["qemu-system-x86_64", *(word for option in self._options() for word in option)]

    @property
    def _chipset(self) -> str:
        return "q35" if "q35" in str(self.plan.config.get("machine", "")) else "pc"

    @property
    def _ports(self) -> int:
        return _NETWORK_PORTS if self._chipset == "q35" else 0

    def _drive(self, slot: str) -> Drive:
        order = boot_order(self.plan.config)
        is_disc = "media=cdrom" in str(self.plan.config.get(slot, "")).split(",")
        place = order.index(slot) if slot in order else None
        return Drive(slot, self.plan.disks[slot], is_disc, place)

    def _card(self, slot: str) -> Card:
        found = _MAC.search(str(self.plan.config[slot]))
        model, mac = (found[1], found[2].lower()) if found else ("virtio", "")
        bus = f"port{slot[3:]}" if int(slot[3:]) < self._ports else ""
        return Card(slot, _CARDS.get(model, model), mac, self.taps[slot], bus)

    def _options(self) -> Iterator[tuple[str, ...]]:
        yield from self._machine_options()
        if self.plan.config.get("bios") == "ovmf":
            yield from self._firmware()
        yield from self._controllers()
        for drive in self.drives():
            yield "-blockdev", json.dumps(drive.backend())
            yield "-device", json.dumps(drive.device())
        for card in self.cards():
            yield "-netdev", json.dumps(card.backend())
            yield "-device", json.dumps(card.device())
        for number, model in enumerate(self.plan.passed):
            yield "-device", json.dumps({"driver": model, "id": f"passed{number}"})
        yield from self._channels()

    def _machine_options(self) -> Iterator[tuple[str, ...]]:
        config = self.plan.config
        sockets, cores = self.cpus
        yield "-name", f"localai-sandbox-{self.plan.vmid}"
        yield ("-nodefaults",)
        yield ("-no-user-config",)
        yield "-machine", self._chipset
        yield "-accel", "kvm" if self.machine.kvm else "tcg,thread=multi"
        yield "-cpu", self.cpu
        yield "-smp", f"{sockets * cores},sockets={sockets},cores={cores}"
        yield "-m", f"{self.memory_mib}M"
        uuid = properties(config.get("smbios1", ""), "").get("uuid")
        if uuid:
            yield "-smbios", f"type=1,uuid={uuid}"
        generation = str(config.get("vmgenid", "0"))
        if generation != "0":
            yield "-device", json.dumps({"driver": "vmgenid", "guid": generation})
        yield "-rtc", "base=utc"
        yield "-display", "none"
        shows = not str(config.get("vga", "std")).startswith(("none", "serial"))
        yield "-vga", "std" if shows else "none"

    def _firmware(self) -> Iterator[tuple[str, ...]]:
        variables = self.plan.disks.get("efidisk0", self.machine.variables)
        kind = Drive("efidisk0", variables).format
        common = "if=pflash,unit={},format={},readonly={},file={}"
        yield "-drive", common.format(0, "raw", "on", _escaped(self.machine.code))
        yield "-drive", common.format(1, kind, "off", _escaped(variables))

    def _controllers(self) -> Iterator[tuple[str, ...]]:
        for number in range(self._ports):
            port = {"driver": "pcie-root-port", "id": f"port{number}", "chassis": number + 1, "port": number}
            yield "-device", json.dumps(port)
        wanted = str(self.plan.config.get("scsihw", ""))
        controller = {"driver": _CONTROLLERS.get(wanted, "lsi53c895a"), "id": "scsihw"}
        yield "-device", json.dumps(controller)

    def _channels(self) -> Iterator[tuple[str, ...]]:
        yield "-qmp", f"unix:{QMP_SOCKET},server=on,wait=off"
        if "serial0" in self.plan.config:
            yield "-chardev", f"file,id=serial0,path={SERIAL_LOG},append=on"
            yield "-serial", "chardev:serial0"
        if properties(self.plan.config.get("agent", "0"), "enabled")["enabled"] == "1":
            yield "-device", json.dumps({"driver": "virtio-serial-pci", "id": "qga"})
            yield "-chardev", f"socket,id=agent,path={AGENT_SOCKET},server=on,wait=off"
            port = {"driver": "virtserialport", "chardev": "agent", "name": "org.qemu.guest_agent.0"}
            yield "-device", json.dumps(port)


def card_slots(config: Mapping[str, Any]) -> list[str]:
    """The slots of network cards, in order."""
    return sorted(name for name in config if _CARD.fullmatch(name))


def boot_order(config: Mapping[str, Any]) -> list[str]:
    """The slots of ``boot: order=…``."""
    order = str(properties(config.get("boot", ""), "").get("order", ""))
    return [slot for slot in order.split(";") if slot]


def properties(value: object, default_key: str) -> dict[str, str]:
    """``a,b=c`` as a dict; a part without a key gets the default one."""
    found = {}
    for part in filter(None, str(value).split(",")):
        key, is_named, text = part.partition("=")
        found[key if is_named else default_key] = text if is_named else part
    return found


def _escaped(path: str) -> str:
    """A path as a value of an option."""
    return path.replace(",", ",,")
