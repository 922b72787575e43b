"""Disks of a VM: allocate, import, remove, put aside as unused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localai_deploy.sandbox.body import SourceImage
from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.disk_files import (
    EFI_BYTES,
    copy_disk,
    digest_of_file,
    grow,
    make_empty,
    make_linked,
    make_variables,
)
from localai_deploy.sandbox.site import Site
from localai_deploy.sandbox.state import Config, Storage, Volume
from localai_deploy.sandbox.tasks import Task, TaskFailed
from localai_deploy.sandbox.verification import Values
from localai_deploy.sandbox.vm_values import NEW_DISK, is_cdrom, is_cloudinit, is_drive, parse, print_drive
from localai_deploy.sandbox.volumes import (
    add_volume,
    format_size,
    in_units,
    path_of,
    real_file,
    remove_volume,
    usable_storage,
)

CLOUDINIT_BYTES = 4 << 20


def formatting_line(path: str, kind: str, size: int, backing: str = "", major: int = 9) -> str:
    """What the image tool says when it makes an image; from 9 on linked clones have extended L2 tables."""
    if kind != "qcow2":
        return f"Formatting '{path}', fmt={kind} size={size} preallocation=off"
    extra = f" backing_file={backing} backing_fmt=qcow2" if backing else ""
    is_large = bool(backing) and major > 8
    parts = [
        "fmt=qcow2",
        f"cluster_size={131072 if is_large else 65536}",
        f"extended_l2={'on' if is_large else 'off'}",
        *(["preallocation=metadata"] if is_large or not backing else []),
        f"compression_type=zlib size={size}{extra} lazy_refcounts=off refcount_bits=16",
    ]
    return f"Formatting '{path}', {' '.join(parts)}"


@dataclass
class DiskWork:
    """Makes and removes disks of one VM within a task; `made` is what a failure takes back."""

    site: Site
    task: Task
    node: str
    vmid: int

    def __post_init__(self) -> None:
        self.made: list[str] = []

    def create_all(self, values: dict[str, Any], default: str | None = None) -> Config:
        """The drives of a configuration with their volumes made; raises TaskFailed or ApiError."""
        release = self.site.cluster.release
        return {
            name: self.create(name, parse(name, values[name], release), default)
            for name in sorted(values)
            if is_drive(name)
        }

    def create(self, name: str, drive: Values, default: str | None) -> str:
        """One drive's string with its volume made."""
        new = NEW_DISK.fullmatch(drive["file"])
        if is_cloudinit(drive) and ":" in drive["file"] and not drive["file"].endswith(".qcow2"):
            store = usable_storage(self.site, drive["file"].partition(":")[0], self.node)
            volume = self.allocate(store, "cloudinit", drive.get("format", "qcow2"), CLOUDINIT_BYTES)
            made = {**drive, "file": volume.volid, "media": "cdrom"}
        elif new and not is_cdrom(drive):
            store = usable_storage(self.site, new.group(1) or default or "", self.node)
            made = self._new(name, drive, store, float(new.group(2)))
        else:
            return self._existing(drive)
        made.pop("format", None)
        text = print_drive(made)
        self.task.say(f"{name}: successfully created disk '{text}'")
        return text

    def _new(self, name: str, drive: Values, store: Storage, gib: float) -> Values:
        source = drive.get("import-from")
        rest = {key: value for key, value in drive.items() if key != "import-from"}
        if source is not None:
            volume = self.copy(source, store, drive.get("format"), f"create full clone of drive ({source})")
        elif name.startswith("efidisk"):
            volume = self._efi_disk(drive, store)
            size = volume.size
            self.say_transferred(size)
            self.task.say(f"transferred {in_units(size)} of {in_units(size)} (100.00%)")
        else:
            size = EFI_BYTES["2m"] * 32 if name.startswith("tpmstate") else int(gib * (1 << 30))
            volume = self.allocate(store, None, drive.get("format", "raw"), size)
        return {**rest, "file": volume.volid, "size": format_size(volume.size)}

    def _efi_disk(self, drive: Values, store: Storage) -> Volume:
        efitype = drive.get("efitype", "2m")
        size = EFI_BYTES[efitype]
        volume = self.allocate(store, None, drive.get("format", "raw"), size, used=size)
        with_keys = bool(drive.get("pre-enrolled-keys"))
        with _as_task_failure():
            make_variables(Path(str(volume.file)), volume.format, efitype, with_keys=with_keys)
        return volume

    def _existing(self, drive: Values) -> str:
        volume = self.site.cluster.volumes.get(drive["file"])
        if volume is None:
            if drive["file"] in {"none", "cdrom"} or drive["file"].startswith("/"):
                return print_drive(drive)
            raise TaskFailed(f"volume '{drive['file']}' does not exist")
        return print_drive({**drive, "size": format_size(volume.size)})

    def say_transferred(self, size: int) -> None:
        """Log the progress of a copy from nothing to all."""
        whole = in_units(size)
        self.task.say(f"transferred 0.0 B of {whole} (0.00%)")
        self.task.say(f"transferred {whole} of {whole} (100.00%)")

    def allocate(
        self,
        store: Storage,
        name: str | None,
        kind: str,
        size: int,
        *,
        used: int = 266240,
        backing: Volume | None = None,
    ) -> Volume:
        """A new volume on a storage; without a name the next `disk-N`."""
        with self.site.cluster.lock:
            file = f"vm-{self.vmid}-{name or self._free_name(store)}.{kind}"
            prefix = f"{backing.volid.partition(':')[2]}/" if backing else ""
            volid = f"{store.name}:{prefix}{self.vmid}/{file}"
            volume = Volume(volid, "images", kind, size, int(time.time()), used=used, vmid=self.vmid)
            volume.parent = backing.volid.rpartition("/")[2] if backing else None
            volume.file = str(real_file(self.site, store, volid))
            add_volume(self.site, volume)
        self.made.append(volid)
        with _as_task_failure():
            _make_file(volume, backing)
        relative = "../" + "/".join(backing.volid.partition(":")[2].split("/")[-2:]) if backing else ""
        self.task.say(
            formatting_line(path_of(store, volid), kind, size, relative, self.site.cluster.release.major)
        )
        return volume

    def _free_name(self, store: Storage) -> str:
        names = [
            volume.volid for volume in self.site.cluster.volumes_of(self.vmid) if volume.store == store.name
        ]
        number = next(n for n in range(1000) if not any(f"-{self.vmid}-disk-{n}." in name for name in names))
        return f"disk-{number}"

    def copy(self, source: str, store: Storage, kind: str | None, said: str) -> Volume:
        """A full copy of a volume; raises TaskFailed when the storage is full."""
        origin = self.site.cluster.volumes.get(source)
        if origin is None:
            raise TaskFailed(f"cannot import from '{source}' - volume does not exist")
        self.task.say(said)
        size = origin.virtual_size if origin.virtual_size is not None else origin.size
        kind = kind or (origin.format if origin.format in {"raw", "qcow2", "vmdk"} else "raw")
        need = max(origin.used, 1)
        room = store.avail
        volume = self.allocate(store, None, kind, size, used=min(need, max(room, 0)))
        if self.site.cluster.release.major > 8:
            self.task.say(f"allocated target volume '{volume.volid}'")
        self.task.say(f"transferred 0.0 B of {in_units(size)} (0.00%)")
        self.task.wait(self.site.pace.import_s)
        if need > room or self.site.faults.hit(f"import {volume.volid}", "storage-full"):
            self._no_space(source, volume, store)
        with _as_task_failure():
            _copy_content(origin, volume)
        self.task.say(f"transferred {in_units(size)} of {in_units(size)} (100.00%)")
        volume.virtual_size = size
        return volume

    def _no_space(self, source: str, volume: Volume, store: Storage) -> None:
        target = path_of(store, volume.volid)
        self.task.say("qemu-img: error while writing at byte 1048576: No space left on device")
        raise TaskFailed(
            f"cannot import from '{source}' - copy failed: command '/usr/bin/qemu-img convert -p -n -f qcow2 "
            f"-O {volume.format} {source} {target}' failed: exit code 1"
        )

    def take_back(self) -> None:
        """Remove what was made."""
        for volid in self.made:
            remove_volume(self.site, volid)


@contextmanager
def _as_task_failure() -> Iterator[None]:
    """What goes wrong with a file ends the task."""
    try:
        yield
    except (MachineError, OSError) as error:
        raise TaskFailed(str(error)) from error


def _make_file(volume: Volume, backing: Volume | None) -> None:
    target = Path(str(volume.file))
    if backing is not None and backing.file and Path(backing.file).exists():
        make_linked(target, Path(backing.file), backing.format)
        volume.image = backing.image
    else:
        make_empty(target, volume.format, volume.size)


def _copy_content(origin: Volume, volume: Volume) -> None:
    """Give a new disk the content of another; one that is only described leaves it empty."""
    if origin.file is None or not Path(origin.file).exists():
        return
    copy_disk(Path(origin.file), origin.format, Path(str(volume.file)), volume.format)
    if origin.content == "import":
        sha256 = origin.digests.setdefault("sha256", digest_of_file(Path(origin.file)))
        volume.image = SourceImage(sha256, volume.size)
    else:
        volume.image = origin.image


def grow_disk(volume: Volume, size: int) -> None:
    """Make a disk and its file larger; raises TaskFailed."""
    if volume.file is not None and Path(volume.file).exists():
        with _as_task_failure():
            grow(Path(volume.file), volume.format, size)
    volume.size = volume.virtual_size = size


def put_aside(site: Site, vmid: int, config: Config, value: str) -> None:
    """A drive that left its slot: its own disk becomes `unusedN`, a cloud-init disk goes away."""
    drive = parse("scsi0", value.partition(",")[0], site.cluster.release)
    volume = site.cluster.volumes.get(drive["file"])
    if volume is None or volume.vmid != vmid:
        return
    if is_cloudinit(drive):
        remove_volume(site, drive["file"])
        return
    free = next(f"unused{n}" for n in range(256) if f"unused{n}" not in config)
    config[free] = drive["file"]
