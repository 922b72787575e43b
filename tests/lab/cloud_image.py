"""A cloud image for tests without internet: Debian with cloud-init, without a guest agent, for OVMF.

Small and quick to boot under emulation: the cloud kernel, an initramfs with five drivers, systemd-boot on
the EFI partition, no timers. It has what stock cloud images have for a first boot: a NoCloud seed on a SCSI
disc sets it up, and the root file system grows. It knows the mirror of the lab that built it: by its apt
sources, by its names, and by the authority that signs its certificates.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localai_deploy.sandbox.command import run
from localai_deploy.sandbox.debian_root import apt_date_settings, debian_sources
from localai_deploy.sandbox.guest_trust import trust_files
from tests.lab.layout import LabError
from tests.lab.mirror import Mirror
from tests.lab.mirror_daemon import ensure_authority, ensure_mirror, mirror_client
from tests.lab.mirror_files import mirror_content
from tests.lab.network import MIRROR_NAMES, mirror_address
from tests.lab.system import reason_to_skip_images

if TYPE_CHECKING:
    from tests.lab.layout import Lab

SUITE = "trixie"
_PACKAGES = (
    *("systemd", "systemd-sysv", "systemd-boot-efi", "udev", "dbus", "libpam-systemd", "initramfs-tools"),
    *("linux-image-cloud-amd64", "cloud-init", "cloud-guest-utils", "e2fsprogs", "locales", "procps"),
    *("openssh-server", "sudo", "iproute2", "python3", "python3-apt", "ca-certificates", "libnss-myhostname"),
)
_CMDLINE = "root=LABEL=root ro console=ttyS0 quiet mitigations=off audit=0 fsck.mode=skip"
_EARLY_FILES = {
    "etc/initramfs-tools/conf.d/lab": "MODULES=list\nCOMPRESS=gzip\nRESUME=none\nFSTYPE=ext4\n",
    "usr/share/initramfs-tools/modules.d/lab": "virtio_pci\nvirtio_scsi\nsd_mod\nsr_mod\next4\n",
    "etc/kernel-img.conf": "do_symlinks=yes\n",
    "etc/dpkg/dpkg.cfg.d/lab": "".join(
        f"path-exclude=/usr/share/{name}/*\n" for name in ("doc", "info", "locale", "man")
    ),
}
_FILES = {
    "etc/fstab": "LABEL=root / ext4 defaults,noatime 0 0\n",
    "etc/hostname": "debian\n",
    "etc/machine-id": "",
    "etc/ssh/sshd_config.d/lab.conf": "UseDNS no\nPerSourcePenalties no\n",
    "etc/apt/apt.conf.d/90lab": 'Acquire::Languages "none";\nAPT::Install-Recommends "false";\n',
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\n",
}
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "fstrim.timer", "systemd-tmpfiles-clean.timer", "man-db.timer"),
    *("getty@tty1.service", "systemd-update-done.service"),
    *("systemd-journal-catalog-update.service", "systemd-hwdb-update.service", "ldconfig.service"),
    *("systemd-pcrphase.service", "systemd-pcrphase-sysinit.service", "systemd-boot-update.service"),
)
_COMMANDS = (
    f"systemctl mask --quiet {' '.join(_MASKED)}",
    "systemctl enable --quiet systemd-networkd.service",
    "passwd --quiet --lock root",
    "rm -f /etc/ssh/ssh_host_* /etc/apt/sources.list /var/lib/dbus/machine-id /etc/resolv.conf",
    "rm -rf /var/lib/apt/lists/* /var/log/* /etc/dpkg/dpkg.cfg.d/lab",
)
_BOOT_ENTRY = "title Debian\nlinux /vmlinuz\ninitrd /initrd.img\noptions {}\n"
_MIB = 1 << 20
_ESP_START, _ESP_SIZE, _ROOT_START = 1 * _MIB, 96 * _MIB, 97 * _MIB


@dataclass(frozen=True, slots=True)
class CloudImageRecipe:
    """All that decides what is in the image."""

    suite: str = SUITE
    packages: tuple[str, ...] = _PACKAGES
    commands: tuple[str, ...] = _COMMANDS
    cmdline: str = _CMDLINE
    size_mib: int = 2048
    apt_settings: str = ""
    apt_sources: str = ""
    hosts: str = ""
    authority: str = ""

    @property
    def digest(self) -> str:
        text = json.dumps([asdict(self), _EARLY_FILES, _FILES, _BOOT_ENTRY, _ESP_SIZE], sort_keys=True)
        return f"{self.suite}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class CloudImage:
    """A built image and where the lab's mirror serves it; ``sha512`` in hex."""

    path: Path
    url: str
    sha512: str
    size_bytes: int
    virtual_bytes: int


def ensure_cloud_image(lab: Lab) -> CloudImage:
    """The image of the current recipe, served by the lab's mirror; built when it is missing (minutes).

    :raises LabError: it cannot be built here; the text names what is missing.
    """
    mirror = mirror_client(lab).base_url
    recipe = CloudImageRecipe(
        apt_settings=apt_date_settings(),
        apt_sources=debian_sources(f"{mirror}/debian", SUITE),
        hosts=f"127.0.0.1\tlocalhost\n::1\tlocalhost\n{mirror_address(lab)}\t{' '.join(MIRROR_NAMES)}\n",
        authority=ensure_authority(lab).certificate.read_text(),
    )
    path = lab.files / "images" / f"debian-lab-{recipe.digest}.qcow2"
    if not path.is_file():
        if reason := reason_to_skip_images():
            raise LabError(reason)
        with lab.lock("cloud-image"):
            if not path.is_file():
                _build(lab, recipe, path)
    ensure_mirror(lab)
    url = f"{mirror}/files/images/{path.name}"
    return CloudImage(path, url, _sha512(path), path.stat().st_size, recipe.size_mib * _MIB)


def _sha512(path: Path) -> str:
    return path.with_suffix(".sha512").read_text().split()[0]


def _build(lab: Lab, recipe: CloudImageRecipe, path: Path) -> None:
    work = lab.directory / "cloud-image.building"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    root, disk, image = work / "root", work / "disk.raw", work / path.name
    _install(lab, recipe, root)
    _make_disk(recipe, root, disk)
    run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", str(disk), str(image))
    path.parent.mkdir(parents=True, exist_ok=True)
    with image.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha512").hexdigest()
    for old in path.parent.glob(f"debian-lab-{recipe.suite}-*"):
        old.unlink()
    path.with_suffix(".sha512").write_text(f"{digest}  {path.name}\n")
    image.rename(path)
    shutil.rmtree(work)


def _install(lab: Lab, recipe: CloudImageRecipe, root: Path) -> None:
    early = root.with_name("early")
    _write_all(early, _EARLY_FILES)
    with Mirror(mirror_content(lab)) as mirror:
        sources = debian_sources(f"{mirror.listen('127.0.0.1')}/debian", recipe.suite)
        run(*_mmdebstrap(recipe, early, root), input_text=sources)
    for path in root.glob("etc/apt/sources.list.d/*"):
        path.unlink()
    own = {"etc/apt/sources.list.d/debian.sources": recipe.apt_sources, "etc/hosts": recipe.hosts}
    _write_all(root, _FILES | own | trust_files(ensure_authority(lab).certificate, root))


def _mmdebstrap(recipe: CloudImageRecipe, early: Path, root: Path) -> list[str]:
    return [
        *("mmdebstrap", "--mode=root", "--variant=apt", "--quiet"),
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={line}" for line in recipe.apt_settings.splitlines()),
        f'--essential-hook=cp -r {early}/. "$1"',
        *(f"--customize-hook=chroot \"$1\" sh -c '{command}'" for command in recipe.commands),
        *(recipe.suite, str(root), "-"),
    ]


def _write_all(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


def _make_disk(recipe: CloudImageRecipe, root: Path, disk: Path) -> None:
    """A GPT with an EFI partition and the root file system, written without mounting anything."""
    with disk.open("wb") as file:
        os.truncate(file.fileno(), recipe.size_mib * _MIB)
    layout = (
        "label: gpt\n"
        f"start={_ESP_START // 512}, size={_ESP_SIZE // 512}, type=uefi\n"
        f"start={_ROOT_START // 512}, type=linux\n"
    )
    run("sfdisk", "--quiet", str(disk), input_text=layout)
    _fill_efi_partition(recipe, root, f"{disk}@@{_ESP_START}")
    blocks = (recipe.size_mib * _MIB - _ROOT_START - _MIB) // 4096
    run(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-b", "4096", "-m", "0", "-d", str(root)),
        *("-E", f"offset={_ROOT_START},lazy_itable_init=1,lazy_journal_init=1", str(disk), str(blocks)),
    )


def _fill_efi_partition(recipe: CloudImageRecipe, root: Path, place: str) -> None:
    entry = root.with_name("entry.conf")
    entry.write_text(_BOOT_ENTRY.format(recipe.cmdline))
    loader = root.with_name("loader.conf")
    loader.write_text("timeout 0\neditor no\n")
    files = {
        "EFI/BOOT/BOOTX64.EFI": root / "usr/lib/systemd/boot/efi/systemd-bootx64.efi",
        "loader/loader.conf": loader,
        "loader/entries/debian.conf": entry,
        "vmlinuz": next(root.glob("boot/vmlinuz-*")),
        "initrd.img": next(root.glob("boot/initrd.img-*")),
    }
    sectors = str(_ESP_SIZE // 512)
    run("mformat", "-i", place, "-F", "-T", sectors, "-h", "64", "-s", "32", "-v", "EFI", "::")
    for folder in ("EFI", "EFI/BOOT", "loader", "loader/entries"):
        run("mmd", "-i", place, f"::{folder}")
    for name, source in files.items():
        run("mcopy", "-i", place, str(source), f"::{name}")
