"""Checks that the server makes in code when a VM's configuration is written.

Not in the schema's `permissions`; the sources are proxmox.md and the recorded conversations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from localai_deploy.sandbox.answers import ApiError, bad_parameters, died
from localai_deploy.sandbox.auth import Identity
from localai_deploy.sandbox.site import Site
from localai_deploy.sandbox.tasks import TaskFailed
from localai_deploy.sandbox.verification import Values
from localai_deploy.sandbox.vm_values import NEW_DISK, is_cdrom, is_cloudinit, is_drive, parse
from localai_deploy.sandbox.volumes import check_volume_access, kind_of, parse_volid, storage_config

RIGHT_OF_OPTION = {
    "VM.Config.CPU": "cores cpu cpulimit cpuunits numa smp sockets vcpus",
    "VM.Config.Disk": "boot bootdisk vmstatestorage",
    "VM.Config.HWType": "acpi audio0 hotplug kvm machine rng0 scsihw smbios1 tablet vga watchdog",
    "VM.Config.Memory": "allow-ksm balloon memory shares",
    "VM.Config.Options": (
        "agent autostart bios description keyboard localtime migrate_downtime migrate_speed name onboot "
        "ostype protection reboot startdate startup tdf template tags"
    ),
    "VM.PowerMgmt": "freeze",
}
CLOUDINIT_OPTIONS = frozenset(
    ["cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "nameserver", "searchdomain", "sshkeys"]
)
CLOUDINIT_RIGHTS = ("VM.Config.Cloudinit", "VM.Config.Network")
_RIGHTS = {option: right for right, options in RIGHT_OF_OPTION.items() for option in options.split()}
_BY_VALUE = re.compile(r"(unused|serial|usb|hostpci)\d+")


@dataclass(frozen=True)
class VmRights:
    """Decides for one caller and one VM, created in `pool` or there already."""

    site: Site
    who: Identity
    vmid: int
    pool: str | None = None
    creating: bool = False

    def _need(self, *privileges: str, any_of: bool = False) -> None:
        self.site.permissions.need_on_vm(self.who, self.vmid, self.pool, *privileges, any_of=any_of)

    def check_options(self, names: list[str]) -> None:
        """The right that each option needs by its name; what has none is for root's login alone."""
        if self.who.is_root:
            return
        for name in names:
            if is_drive(name) or name == "cdrom" or _BY_VALUE.fullmatch(name):
                continue
            if name in CLOUDINIT_OPTIONS or re.fullmatch(r"ipconfig\d+", name):
                self._need(*CLOUDINIT_RIGHTS, any_of=True)
            elif re.fullmatch(r"net\d+", name):
                self._need("VM.Config.Network")
            elif re.fullmatch(r"numa\d+", name):
                self._need("VM.Config.CPU")
            elif name in _RIGHTS:
                self._need(_RIGHTS[name])
                if name == "startup":
                    self.site.permissions.need(self.who, "/", "Sys.Modify")
            else:
                raise died(f"only root can set '{name}' config")

    def check_value(self, name: str, value: str) -> None:
        """The rights that depend on an option's value: devices, bridges, romfile."""
        if name.startswith("hostpci"):
            self.check_hostpci(name, value)
        elif name.startswith("serial"):
            self._check_device(name, is_real=value != "socket")
        elif name.startswith("usb"):
            self._check_usb(name, value)
        elif re.fullmatch(r"net\d+", name):
            self.check_bridge(value)

    def check_romfile(self, values: dict[str, Any]) -> None:
        """Raises the 400 for a romfile by anyone but root's login."""
        for name, value in values.items():
            is_device = bool(re.fullmatch(r"hostpci\d+", name)) and not self.who.is_root
            if is_device and "romfile" in parse(name, value, self.site.cluster.release):
                raise bad_parameters({name: "only root@pam can set 'romfile' option"})

    def check_new_tags(self, config: dict[str, Any]) -> None:
        """Tags of a create: asked for within its task, when the VM is not in its pool yet.

        Source: `assert_tag_permissions` in the create of qemu-server 9.2.0.
        """
        if "tags" in config and self.site.cluster.release.major > 8:
            try:
                self._need("VM.Config.Options")
            except ApiError as error:
                raise TaskFailed(f"{error.status} {error}") from error

    def check_hostpci(self, name: str, value: str) -> None:
        """A mapped device needs its mapping; a raw address is for root's login alone."""
        if self.who.is_root:
            return
        device = parse(name, value, self.site.cluster.release)
        if "mapping" not in device:
            suffix = " for non-mapped devices" if self.site.cluster.release.major > 7 else ""
            raise died(f"only root can set '{name}' config{suffix}")
        self._need("VM.Config.HWType")
        self.site.permissions.need(self.who, f"/mapping/pci/{device['mapping']}", "Mapping.Use")

    def _check_device(self, name: str, *, is_real: bool) -> None:
        if self.who.is_root:
            return
        if is_real:
            verb = "set" if self.creating else "modify"
            raise died(f"only root can {verb} '{name}' config for real devices")
        self._need("VM.Config.HWType")

    def _check_usb(self, name: str, value: str) -> None:
        if self.who.is_root:
            return
        device = parse(name, value, self.site.cluster.release)
        if device.get("host", "").lower() not in {"", "spice"}:
            raise died(f"only root can set '{name}' config for real devices")
        self._need("VM.Config.HWType")
        if "mapping" in device:
            self.site.permissions.need(self.who, f"/mapping/usb/{device['mapping']}", "Mapping.Use")

    def check_bridge(self, value: str) -> None:
        """The use of a bridge, and of its VLAN."""
        if self.who.is_root or self.site.cluster.release.major < 8:
            return
        net = parse("net0", value, self.site.cluster.release)
        if "bridge" in net:
            path = f"/sdn/zones/localnetwork/{net['bridge']}"
            tagged = f"{path}/{net['tag']}" if "tag" in net else path
            self.site.permissions.need(self.who, tagged, "SDN.Use")

    def check_slot(self, name: str, value: str) -> None:
        """The right to fill or clear a drive's slot."""
        drive = parse(name, value, self.site.cluster.release)
        self._need("VM.Config.CDROM" if is_cdrom(drive) else "VM.Config.Disk")

    def check_storage(self, values: dict[str, Any], default: str | None = None) -> None:
        """The use of storages and volumes that new drives name."""
        for name in sorted(values):
            if is_drive(name):
                drive = parse(name, values[name], self.site.cluster.release)
                self._check_volume(name, drive, default)
                if "import-from" in drive:
                    self._check_source(name, drive["import-from"])

    def _check_volume(self, name: str, drive: Values, default: str | None) -> None:
        volid, new = drive["file"], NEW_DISK.fullmatch(drive["file"])
        if volid == "none" or is_cloudinit(drive):
            return
        if volid == "cdrom":
            self.site.permissions.need(self.who, "/", "Sys.Console")
        elif new and not is_cdrom(drive):
            store = new.group(1) or default
            if store is None:
                raise died("no storage ID specified (and no default storage)")
            self.site.permissions.need(self.who, f"/storage/{store}", "Datastore.AllocateSpace")
            if "images" not in storage_config(self.site, store).content:
                raise bad_parameters({"storage": f"storage '{store}' does not support vm images"})
        else:
            check_volume_access(self.site, self.who, self.vmid, volid)
            if parse_volid(volid) and kind_of(volid)[0] not in {"images", "iso"}:
                raise bad_parameters({name: "content type needs to be 'images' or 'iso'"})

    def _check_source(self, name: str, source: str) -> None:
        kind, owner = kind_of(source)
        if parse_volid(source) and kind not in {"images", "import"}:
            raise bad_parameters(
                {name: f"{source} has wrong type '{kind}' - needs to be 'images' or 'import'"}
            )
        if owner is not None:
            self.site.permissions.need(self.who, f"/vms/{owner}", "VM.Clone")
        else:
            check_volume_access(self.site, self.who, self.vmid, source)


def check_hookscript(site: Site, values: dict[str, Any]) -> None:
    """Raises the 400 for a script that is not there."""
    script = values.get("hookscript")
    if script is not None and script not in site.cluster.volumes:
        raise bad_parameters({"hookscript": f"script '{script}' does not exist\n"})


def check_skiplock(who: Identity, values: dict[str, Any]) -> None:
    """Raises the 400 for anyone but root's login."""
    if values.get("skiplock") and not who.is_root:
        raise bad_parameters({"skiplock": "Only root may use this option."})
