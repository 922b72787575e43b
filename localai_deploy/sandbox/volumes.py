"""Storages and volumes: which may be used by whom, where files lie, how sizes are written."""

from __future__ import annotations

import re
import time
from pathlib import Path

from localai_deploy.sandbox.answers import died
from localai_deploy.sandbox.auth import Identity
from localai_deploy.sandbox.site import Site
from localai_deploy.sandbox.state import Storage, Volume

FOLDERS = {
    "iso": "template/iso",
    "vztmpl": "template/cache",
    "import": "import",
    "snippets": "snippets",
    "backup": "dump",
}
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes of a size like 528K or 2.5G."""
    number, unit = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text).groups()  # type: ignore[union-attr]
    return int(float(number) * _UNITS[unit])


def format_size(size: int) -> str:
    """The shortest exact form: 3G, 528K, 1025."""
    for unit in ("T", "G", "M", "K"):
        if size >= _UNITS[unit] and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)


def in_units(size: float) -> str:
    """As progress lines write it: 2.0 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.1f} {unit}"
        size /= 1024
    return ""


def storage_config(site: Site, name: str) -> Storage:
    """The storage; raises the 500 for one that does not exist."""
    store = site.cluster.storages.get(name)
    if store is None:
        raise died(f"storage '{name}' does not exist")
    return store


def usable_storage(site: Site, name: str, node: str) -> Storage:
    """The storage, enabled, on this node and active; raises the 500 that says what is wrong."""
    store = storage_config(site, name)
    if store.disable:
        raise died(f"storage '{name}' is disabled")
    if store.nodes and node not in store.nodes:
        raise died(f"storage '{name}' is not available on node '{node}'")
    if not store.mounted:
        raise died(
            f"unable to activate storage '{name}' - directory is expected to be a mount point "
            f"but is not mounted: '{store.path}'"
        )
    return store


def parse_volid(volid: str) -> tuple[str, str] | None:
    """Storage and name; None for a path."""
    match = re.fullmatch(r"([a-zA-Z][a-zA-Z0-9._-]*[a-zA-Z0-9]):(.+)", volid)
    return (match.group(1), match.group(2)) if match else None


def kind_of(volid: str) -> tuple[str, int | None]:
    """Content type of a volume by its name, and the VM that owns it."""
    name = volid.partition(":")[2]
    owner = re.match(r"(?:.*/)?(\d+)/(?:vm|base)-(\d+)-", name)
    if owner:
        return "images", int(owner.group(2))
    return name.partition("/")[0], None


def path_of(store: Storage, volid: str) -> str:
    """The path that the server shows for a volume."""
    kind, _ = kind_of(volid)
    name = volid.partition(":")[2]
    if kind == "images":
        return f"{store.path}/images/{'/'.join(name.split('/')[-2:])}"
    return f"{store.path}/{FOLDERS.get(kind, kind)}/{name.partition('/')[2]}"


def real_file(site: Site, store: Storage, volid: str) -> Path:
    """Where the file of a volume lies on this machine; its folder is made."""
    relative = path_of(store, volid).removeprefix(store.path).strip("/")
    file = Path(site.files_dir, store.name, relative)
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def check_volume_access(site: Site, who: Identity, vmid: int | None, volid: str) -> None:
    """Raises when the caller may not use a volume (for the VM `vmid`, where given)."""
    permissions, parsed = site.permissions, parse_volid(volid)
    if parsed is None:
        if not who.is_root:
            raise died("Only root can pass arbitrary filesystem paths.")
        return
    store, (kind, owner) = f"/storage/{parsed[0]}", kind_of(volid)
    if permissions.has_any(who, store, ("Datastore.Allocate",)):
        return
    if kind in {"iso", "vztmpl", "import"}:
        permissions.need_any(who, store, "Datastore.AllocateSpace", "Datastore.Audit")
    elif owner is not None and owner == vmid:
        return
    elif kind == "images" and owner is not None:
        permissions.need(who, store, "Datastore.Audit")
        permissions.need(who, f"/vms/{owner}", "VM.Config.Disk")
    else:
        raise died(f"missing privileges to access {volid}")


def add_volume(site: Site, volume: Volume) -> Volume:
    """Register a volume, in place of one of its name, and take its space; the storage's numbers follow."""
    with site.cluster.lock:
        before = site.cluster.volumes.get(volume.volid)
        more = volume.used - (before.used if before else 0)
        site.cluster.volumes[volume.volid] = volume
        store = site.cluster.storages[volume.store]
        store.used += more
        store.avail -= more
    return volume


def remove_volume(site: Site, volid: str) -> None:
    """Forget a volume, give its space back and delete its file."""
    with site.cluster.lock:
        volume = site.cluster.volumes.pop(volid, None)
        if volume is None:
            return
        store = site.cluster.storages[volume.store]
        store.used -= volume.used
        store.avail += volume.used
    if volume.file is not None:
        Path(volume.file).unlink(missing_ok=True)


def file_volume(site: Site, store: Storage, content: str, name: str, size: int) -> Volume:
    """A volume for a file that was uploaded or downloaded."""
    volid = f"{store.name}:{content}/{name}"
    extension = name.rsplit(".", 1)[-1]
    kind = "iso" if content == "iso" else extension
    return Volume(
        volid, content, kind, size, int(time.time()), used=size, file=str(real_file(site, store, volid))
    )
