"""Cloud images: a catalogue of pinned ones, and any other by its URL with a checksum.

Each catalogued checksum was found together with its dated URL in at least two independent public
sources, and is what the publisher's own list beside the file says:

==============  =====================================================================================
debian-12       https://cloud.debian.org/images/cloud/bookworm/20260806-2562/SHA512SUMS
debian-13       https://cloud.debian.org/images/cloud/trixie/20260914-2601/SHA512SUMS
ubuntu-22.04    https://cloud-images.ubuntu.com/releases/jammy/release-20260913/SHA256SUMS
ubuntu-24.04    https://cloud-images.ubuntu.com/releases/noble/release-20260926/SHA256SUMS
==============  =====================================================================================

Debian's are the *generic* images: the kernel of the *genericcloud* ones has no graphics drivers.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from localai_deploy.errors import InputError

_DIGITS = {"sha256": 64, "sha512": 128}
_STORED_SUFFIX = {".qcow2": ".qcow2", ".img": ".qcow2", ".raw": ".raw", ".vmdk": ".vmdk"}
_FORM = "https://HOST/PATH/FILE.qcow2#sha512=HEX"


@dataclass(frozen=True, slots=True)
class GuestSystem:
    """The operating system in an image, as the guest's own ``/etc/os-release`` and C library will say."""

    os_id: str
    os_version: str
    pretty_name: str
    libc_version: str


@dataclass(frozen=True, slots=True)
class CloudImage:
    """A cloud image, pinned.

    :param file_name: name on the storage, of this content alone; ends in ``.qcow2``, ``.raw`` or ``.vmdk``.
    :param checksum: hex digest in ``algorithm`` (``sha256``, ``sha512``).
    :param system: what is in it; ``None`` when that shows only in the guest.
    """

    url: str
    file_name: str
    checksum: str
    algorithm: str = "sha512"
    system: GuestSystem | None = None

    def volume_on(self, storage: str) -> str:
        """Its volume id on a storage."""
        return f"{storage}:import/{self.file_name}"


_DEBIAN_12 = GuestSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)", "2.36")
_DEBIAN_13 = GuestSystem("debian", "13", "Debian GNU/Linux 13 (trixie)", "2.41")
_UBUNTU_22_04 = GuestSystem("ubuntu", "22.04", "Ubuntu 22.04 LTS", "2.35")
_UBUNTU_24_04 = GuestSystem("ubuntu", "24.04", "Ubuntu 24.04 LTS", "2.39")

CATALOGUE: Mapping[str, CloudImage] = {
    "debian-12": CloudImage(
        "https://cloud.debian.org/images/cloud/bookworm/20260806-2562/"
        "debian-12-generic-amd64-20260806-2562.qcow2",
        "debian-12-generic-amd64-20260806-2562.qcow2",
        "0b04eda1c80b255d6234ae6fe63c43a6cb0de4afc5c37873acbc82d5b1feba7a"
        "619d2402d2341af1cf9e0898fa7d5225be343fef47349b18fe28b838001bd8eb",
        system=_DEBIAN_12,
    ),
    "debian-13": CloudImage(
        "https://cloud.debian.org/images/cloud/trixie/20260914-2601/"
        "debian-13-generic-amd64-20260914-2601.qcow2",
        "debian-13-generic-amd64-20260914-2601.qcow2",
        "a733e7d49442a03e70d03e4eb5aaf3967f3efc69ef70952f9bb10fc1ee2c4876"
        "eb95956b5ad2d31350e5fada768feb651352535fb8cd1233f61998a5a7d2e93c",
        system=_DEBIAN_13,
    ),
    "ubuntu-22.04": CloudImage(
        "https://cloud-images.ubuntu.com/releases/jammy/release-20260913/"
        "ubuntu-22.04-server-cloudimg-amd64.img",
        "ubuntu-22.04-server-cloudimg-amd64-20260913.qcow2",
        "9144540e8af7637d258b50dbabe82ce1aa6752c9574fedfb048270da0e087899",
        "sha256",
        _UBUNTU_22_04,
    ),
    "ubuntu-24.04": CloudImage(
        "https://cloud-images.ubuntu.com/releases/noble/release-20260926/"
        "ubuntu-24.04-server-cloudimg-amd64.img",
        "ubuntu-24.04-server-cloudimg-amd64-20260926.qcow2",
        "6a81c37564db9b1ee84e141922625e1d7c5b389b99bb3c572e0243607d5bb4d2",
        "sha256",
        _UBUNTU_24_04,
    ),
}


def parse_image(text: str) -> CloudImage:
    """Read a catalogue name, or a URL with its checksum as the fragment.

    :raises InputError: ``image-unknown`` for a name, ``image-invalid`` for a URL.
    """
    if "://" in text:
        return _from_url(text)
    if text not in CATALOGUE:
        close = difflib.get_close_matches(text, CATALOGUE, n=1)
        raise InputError(
            "image-unknown",
            f"there is no image {text!r}",
            why=f"did you mean {close[0]}?" if close else "",
            hint=f"known: {', '.join(CATALOGUE)}; any other by URL and checksum: {_FORM}",
        )
    return CATALOGUE[text]


def _from_url(text: str) -> CloudImage:
    parts = urlsplit(text)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise _invalid(text, "it is no http(s) URL")
    if "@" in parts.netloc:
        raise InputError(
            "image-invalid",
            f"image at {parts.hostname}",
            why="the URL carries a password, which the node would write into its task log",
            hint="serve the image without one: its checksum is what makes it trustworthy",
        )
    algorithm, _, checksum = parts.fragment.partition("=")
    if not parts.fragment:
        raise _invalid(text, "its checksum is missing: nothing is fetched that could change unseen")
    if algorithm not in _DIGITS:
        raise _invalid(text, f"{algorithm!r} is neither sha256 nor sha512")
    if not re.fullmatch(rf"[0-9A-Fa-f]{{{_DIGITS[algorithm]}}}", checksum):
        raise _invalid(text, f"a {algorithm} has {_DIGITS[algorithm]} hex digits")
    url = parts._replace(fragment="").geturl()
    return CloudImage(url, _stored_name(text, parts.path, checksum.lower()), checksum.lower(), algorithm)


def _stored_name(text: str, path: str, checksum: str) -> str:
    """A name that says where it is from and belongs to this content alone."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", unquote(path.rpartition("/")[2]))
    stem, dot, suffix = name.rpartition(".")
    stored = _STORED_SUFFIX.get(f"{dot}{suffix.lower()}")
    if stored is None or not stem.strip(".-_"):
        raise _invalid(text, "Proxmox imports .qcow2, .img (a qcow2), .raw and .vmdk")
    return f"{stem.lstrip('.-')[:80]}-{checksum[:12]}{stored}"


def _invalid(text: str, why: str) -> InputError:
    return InputError("image-invalid", f"image {text!r}", why=why, hint=f"write {_FORM}")
