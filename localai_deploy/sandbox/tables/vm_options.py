"""Every option of a VM's configuration."""

from __future__ import annotations

from dataclasses import replace

from localai_deploy.sandbox.parameter import (
    Param,
    Table,
    flag,
    integer,
    main_key,
    number,
    properties,
    required,
    text,
)
from localai_deploy.sandbox.tables.drives import DRIVES, NET

MACHINE_TYPE = (
    r"(pc|pc(-i440fx)?-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?|q35|pc-q35-\d+(\.\d+)+(\+pve\d+)?(\.pxe)?"
    r"|virt(?:-\d+(\.\d+)+)?(\+pve\d+)?)"
)
_RANGES = r"\d+(?:-\d+)?(?:;\d+(?:-\d+)?)*"
_PCI_ID = r"(0x)?[0-9a-fA-F]{4}"
_PCI_ADDRESS = r"([0-9a-fA-F]{4,}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(\.[0-9a-fA-F])?"

MACHINE: Table = (
    main_key(text("type", pattern=MACHINE_TYPE, max_length=40)),
    replace(number("aw-bits", 32, 64), since=9),
    flag("enable-s3"),
    flag("enable-s4"),
    text("viommu", enum="intel virtio"),
)
HOSTPCI: Table = (
    main_key(text("host", pattern=rf"{_PCI_ADDRESS}(;{_PCI_ADDRESS})*")),
    text("mapping", "pve-configid"),
    text("device-id", pattern=_PCI_ID),
    flag("legacy-igd"),
    text("mdev"),
    flag("pcie"),
    flag("rombar"),
    text("romfile", pattern=r"[^,;]+", max_length=255),
    text("sub-device-id", pattern=_PCI_ID),
    text("sub-vendor-id", pattern=_PCI_ID),
    text("vendor-id", pattern=_PCI_ID),
    flag("x-vga"),
)
IPCONFIG: Table = (
    text("ip", "pve-ipv4-config"),
    text("gw", "ipv4", requires="ip"),
    text("ip6", "pve-ipv6-config"),
    text("gw6", "ipv6", requires="ip6"),
)
BOOT: Table = (
    main_key(text("legacy", pattern=r"[acdn]{1,4}")),
    text("order", "pve-boot-order"),
)
SMBIOS: Table = (
    flag("base64"),
    *(
        text(key, pattern=r"[A-Za-z0-9+/]+=*|.*")
        for key in ["family", "manufacturer", "product", "serial", "sku", "version"]
    ),
    text("uuid", pattern=r"[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}"),
)
CICUSTOM: Table = tuple(text(key) for key in ("meta", "network", "user", "vendor"))
CPU: Table = (
    main_key(text("cputype")),
    text("flags"),
    flag("hidden"),
    text("hv-vendor-id"),
    text("phys-bits"),
    text("reported-model"),
    integer("guest-phys-bits"),
    text("level"),
)
_VGA_TYPES = "cirrus qxl qxl2 qxl3 qxl4 none serial0 serial1 serial2 serial3 std virtio virtio-gl vmware"
_KEYBOARDS = "de de-ch da en-gb en-us es fi fr fr-be fr-ca fr-ch hu is it ja lt mk nl no pl pt pt-br sv sl tr"
LOCKS = "backup clone create migrate rollback snapshot snapshot-delete suspending suspended"

STRUCTURED: Table = (
    properties(
        "agent",
        main_key(required(flag("enabled"))),
        flag("freeze-fs", since=9),
        Param("freeze-fs-on-backup", alias="freeze-fs", since=9),
        Param("guest-fsfreeze", alias="freeze-fs", since=9),
        flag("freeze-fs-on-backup", until=8),
        flag("fstrim_cloned_disks"),
        text("type", enum="virtio isa"),
    ),
    properties(
        "audio0",
        required(text("device", enum="ich9-intel-hda intel-hda AC97")),
        text("driver", enum="spice none"),
    ),
    properties("boot", *BOOT),
    properties("cicustom", *CICUSTOM),
    properties("cpu", *CPU),
    properties("hostpci[n]", *HOSTPCI),
    properties("ipconfig[n]", *IPCONFIG),
    properties("ivshmem", text("name", pattern=r"[a-zA-Z0-9\-]+"), required(integer("size", 1))),
    properties("machine", *MACHINE),
    properties("memory", main_key(required(integer("current", 16)))),
    properties("net[n]", *NET),
    properties(
        "numa[n]",
        required(text("cpus", pattern=_RANGES)),
        text("hostnodes", pattern=_RANGES),
        number("memory"),
        text("policy", enum="preferred bind interleave"),
    ),
    properties("smbios1", *SMBIOS),
    properties("spice_enhancements", flag("foldersharing"), text("videostreaming", enum="off all filter")),
    properties(
        "usb[n]",
        main_key(
            text(
                "host",
                pattern=r"(0x)?[0-9A-Fa-f]{4}:(0x)?[0-9A-Fa-f]{4}|\d+-\d+(\.\d+)*|[Ss][Pp][Ii][Cc][Ee]",
            )
        ),
        text("mapping", "pve-configid"),
        flag("usb3"),
    ),
    properties(
        "vga",
        text("clipboard", enum="vnc"),
        integer("memory", 4, 512),
        main_key(text("type", enum=_VGA_TYPES)),
    ),
    properties(
        "virtiofs[n]",
        text("cache", enum="auto always metadata never"),
        flag("direct-io"),
        main_key(required(text("dirid", "pve-configid"))),
        flag("expose-acl"),
        flag("expose-xattr"),
        since=8,
    ),
)
PLAIN: Table = (
    flag("acpi"),
    text("affinity", "pve-cpuset"),
    flag("allow-ksm", since=9),
    text("amd-sev", "pve-qemu-sev-fmt", since=8),
    text("arch", enum="x86_64 aarch64"),
    text("args"),
    flag("autostart"),
    integer("balloon", 0),
    text("bios", enum="seabios ovmf"),
    text("bootdisk", "pve-qm-bootdisk", pattern=r"(ide|sata|scsi|virtio)\d+"),
    text("cdrom", "pve-qm-ide"),
    text("cipassword"),
    text("citype", enum="configdrive2 nocloud opennebula"),
    flag("ciupgrade", since=8),
    text("ciuser"),
    integer("cores", 1),
    number("cpulimit", 0, 128),
    integer("cpuunits", 1, 262144),
    text("description", max_length=8192),
    flag("freeze"),
    text("hookscript", "pve-volume-id"),
    text("hotplug", "pve-hotplug-features"),
    text("hugepages", enum="any 2 1024"),
    text("intel-tdx", "pve-qemu-tdx-fmt", since=9),
    flag("keephugepages"),
    text("keyboard", enum=_KEYBOARDS),
    flag("kvm"),
    flag("localtime"),
    text("lock", enum=LOCKS),
    number("migrate_downtime", 0),
    integer("migrate_speed", 0),
    text("name", "dns-name"),
    text("nameserver", "address-list"),
    flag("numa"),
    flag("onboot"),
    text("ostype", enum="other wxp w2k w2k3 w2k8 wvista win7 win8 win10 win11 l24 l26 solaris"),
    text("parallel[n]", pattern=r"/dev/parport\d+|/dev/usb/lp\d+"),
    flag("protection"),
    flag("reboot"),
    text("rng0", "pve-qm-rng"),
    text("scsihw", enum="lsi lsi53c810 virtio-scsi-pci virtio-scsi-single megasas pvscsi"),
    text("searchdomain"),
    text("serial[n]", pattern=r"(/dev/[^,]+|socket)", since=9),
    text("serial[n]", pattern=r"(/dev/.+|socket)", until=8),
    integer("shares", 0, 50000),
    integer("smp", 1),
    integer("sockets", 1),
    text("sshkeys", "urlencoded"),
    text("startdate", pattern=r"(now|\d{4}-\d{1,2}-\d{1,2}(T\d{1,2}:\d{1,2}:\d{1,2})?)"),
    text("startup", "pve-startup-order"),
    flag("tablet"),
    text("tags", "pve-tag-list"),
    flag("tdf"),
    flag("template"),
    integer("vcpus", 1),
    text("vmgenid", pattern=r"(?:[a-fA-F0-9]{8}(?:-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}|[01])"),
    text("vmstatestorage", "pve-storage-id"),
    text("watchdog", "pve-qm-watchdog"),
)
VM_OPTIONS: Table = (*PLAIN, *STRUCTURED, *DRIVES)
