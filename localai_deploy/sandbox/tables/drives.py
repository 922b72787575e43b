"""Property strings of a VM's drives and network cards."""

from __future__ import annotations

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

FILE = main_key(required(text("file", "pve-volume-id-or-qm-path")))
VOLUME = Param("volume", alias="file")
IMAGE_FORMATS = "raw qcow qed qcow2 vmdk cloop"
IMPORT_FROM = text("import-from", "pve-volume-id-or-absolute-path")
SIZE = text("size", "disk-size")


def _rates() -> Table:
    rows: list[Param] = []
    for side in ("", "_rd", "_wr"):
        rows += [integer(f"bps{side}"), integer(f"iops{side}"), integer(f"iops{side}_max")]
        rows += [number(f"mbps{side}"), number(f"mbps{side}_max")]
        rows += [integer(f"bps{side}_max_length", 1), integer(f"iops{side}_max_length", 1)]
    for kind in ("bps", "iops"):
        rows += [Param(f"{kind}{s}_length", alias=f"{kind}{s}_max_length") for s in ("_rd", "_wr")]
    return tuple(rows)


DRIVE: Table = (
    FILE,
    VOLUME,
    *_rates(),
    text("aio", enum="native threads io_uring"),
    flag("backup"),
    text("cache", enum="none writethrough writeback unsafe directsync"),
    integer("cyls", until=8),
    flag("detect_zeroes"),
    text("discard", enum="ignore on"),
    text("format", enum=IMAGE_FORMATS),
    integer("heads", until=8),
    IMPORT_FROM,
    text("media", enum="cdrom disk"),
    flag("replicate"),
    text("rerror", enum="ignore report stop"),
    integer("secs", until=8),
    text("serial", "urlencoded", max_length=60),
    flag("shared"),
    SIZE,
    flag("snapshot"),
    text("trans", enum="none lba auto", until=8),
    text("werror", enum="enospc ignore report stop"),
)
_SSD = flag("ssd")
_WWN = text("wwn", pattern="(0x)[0-9a-fA-F]{16}")
_MODEL = text("model", "urlencoded", max_length=120)
IDE: Table = (*DRIVE, _SSD, _WWN, _MODEL)
SATA: Table = (*DRIVE, _SSD, _WWN)
SCSI: Table = (
    *DRIVE,
    _SSD,
    _WWN,
    flag("iothread"),
    text("product", pattern=r"[A-Za-z0-9\-_\s]{0,16}"),
    integer("queues", 2),
    flag("ro"),
    flag("scsiblock"),
    text("vendor", pattern=r"[A-Za-z0-9\-_\s]{0,8}"),
)
VIRTIO: Table = (*DRIVE, flag("iothread"), flag("ro"))
EFIDISK: Table = (
    FILE,
    VOLUME,
    text("efitype", enum="2m 4m"),
    text("format", enum=IMAGE_FORMATS),
    IMPORT_FROM,
    text("ms-cert", enum="2011 2023 2023w 2023k"),
    flag("pre-enrolled-keys"),
    SIZE,
)
TPMSTATE: Table = (
    FILE,
    VOLUME,
    text("format", enum="raw qcow2 vmdk", since=9),
    IMPORT_FROM,
    SIZE,
    text("version", enum="v1.2 v2.0"),
)
NET_MODELS = (
    "e1000 e1000-82540em e1000-82544gc e1000-82545em e1000e i82551 i82557b i82559er "
    "ne2k_isa ne2k_pci pcnet rtl8139 virtio vmxnet3"
)
NET: Table = (
    main_key(required(text("model", enum=NET_MODELS))),
    text("bridge", "pve-bridge-id"),
    flag("firewall"),
    flag("host-tunnel", since=9),
    flag("link_down"),
    text("macaddr", "mac-addr"),
    integer("mtu", 1, 65520),
    integer("queues", 0, 64),
    number("rate", 0),
    integer("tag", 1, 4094),
    text("trunks", pattern=r"\d+(?:-\d+)?(?:;\d+(?:-\d+)?)*"),
    *(Param(model, alias="macaddr", key_alias="model") for model in NET_MODELS.split()),
)
DRIVES: Table = (
    properties("efidisk0", *EFIDISK),
    properties("ide[n]", *IDE),
    properties("sata[n]", *SATA),
    properties("scsi[n]", *SCSI),
    properties("tpmstate0", *TPMSTATE),
    properties("virtio[n]", *VIRTIO),
    properties("unused[n]", main_key(required(text("file", "pve-volume-id"))), VOLUME),
)
DRIVE_NAMES = " ".join(
    f"{bus}{number}"
    for bus, count in (("ide", 4), ("scsi", 31), ("virtio", 16), ("sata", 6), ("efidisk", 1), ("tpmstate", 1))
    for number in range(count)
)
