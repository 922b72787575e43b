"""The files behind disks: empty, copied, grown, linked, and the variables of the firmware.

Raw files need nothing but this module and are sparse; other formats are qemu-img's work. Where qemu-img is
missing, their files are only as long as the disk: bodies that read them name its package (`bodies`).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from localai_deploy.sandbox.command import run

FIRMWARE = Path("/usr/share/OVMF")
EFI_BYTES = {"4m": 528 << 10, "2m": 128 << 10}
_VARIABLES = {"4m": "OVMF_VARS_4M", "2m": "OVMF_VARS"}
_CODE = {"4m": "OVMF_CODE_4M.fd", "2m": "OVMF_CODE.fd"}
_FOREIGN = ("qcow2", "vmdk", "qed", "vdi", "vpc")


def make_empty(file: Path, kind: str, size: int) -> None:
    """A disk of `size` bytes that holds nothing and takes hardly any room."""
    if _is_foreign(kind):
        run("qemu-img", "create", "-q", "-f", kind, str(file), str(size))
        return
    with file.open("wb") as disk:
        disk.truncate(size)


def make_linked(file: Path, backing: Path, backing_kind: str) -> None:
    """A qcow2 disk that holds what differs from another; a plain copy where qemu-img is missing."""
    if not _is_foreign("qcow2"):
        copy_file(backing, file)
        return
    run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", backing_kind, str(file))


def copy_disk(source: Path, source_kind: str, target: Path, kind: str) -> None:
    """The same disk in another file; its bytes as they are when the format stays."""
    if kind == source_kind or not (_is_foreign(kind) or _is_foreign(source_kind)):
        copy_file(source, target)
        return
    run("qemu-img", "convert", "-q", "-f", source_kind, "-O", kind, str(source), str(target))


def grow(file: Path, kind: str, size: int) -> None:
    """Make a disk larger; `size` in bytes."""
    if _is_foreign(kind):
        run("qemu-img", "resize", "-q", "-f", kind, str(file), str(size))
    else:
        os.truncate(file, size)


def shrink(file: Path, kind: str, size: int) -> None:
    """Make a disk smaller again that holds nothing beyond `size`; a smaller one stays."""
    if virtual_bytes(file) > size:
        run("qemu-img", "resize", "-q", "--shrink", "-f", kind, str(file), str(size))


def virtual_bytes(file: Path) -> int:
    """The size of the disk in a file of any format; needs qemu-img."""
    size: int = json.loads(run("qemu-img", "info", "--force-share", "--output=json", str(file)))[
        "virtual-size"
    ]
    return size


def make_variables(file: Path, kind: str, efitype: str, *, with_keys: bool) -> None:
    """The firmware's variables as new; zeros where the firmware is not installed."""
    suffix = ".ms.fd" if with_keys else ".fd"
    template = FIRMWARE / f"{_VARIABLES[efitype]}{suffix}"
    if template.is_file():
        copy_disk(template, "raw", file, kind)
    else:
        make_empty(file, kind, EFI_BYTES[efitype])


def firmware_code(variables_bytes: int) -> Path:
    """The firmware that fits variables of that size."""
    return FIRMWARE / _CODE["4m" if variables_bytes >= EFI_BYTES["4m"] else "2m"]


def copy_file(source: Path, target: Path) -> None:
    """A copy that shares blocks with the original where the file system can, and keeps holes."""
    run("cp", "--reflink=auto", "--sparse=auto", "--no-preserve=all", str(source), str(target))


def digest_of_file(file: Path) -> str:
    """SHA-256 in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _is_foreign(kind: str) -> bool:
    """Whether qemu-img has to do it."""
    return kind in _FOREIGN and shutil.which("qemu-img") is not None
