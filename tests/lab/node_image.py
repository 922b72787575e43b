"""A disk that boots like a node: Debian's stock kernel with its display drivers, and GRUB.

Cloud kernels have no display drivers. GRUB starts from an image of its own (``grub-install`` writes to no
file) and reads the menu that ``update-grub`` makes inside. Root logs in with the lab's key, as on a node.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localai_deploy.sandbox.command import run
from localai_deploy.sandbox.debian_root import RootRecipe, apt_date_settings, debian_sources, ensure_root
from tests.lab.mirror import Mirror
from tests.lab.mirror_files import mirror_content
from tests.lab.seed import ensure_lab_key

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.layout import Lab

SUITE = "trixie"
_PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "libpam-systemd", "initramfs-tools", "linux-image-amd64"),
    *("grub-common", "grub2-common", "grub-efi-amd64-bin", "kmod", "e2fsprogs", "procps"),
    *("openssh-server", "iproute2", "python3"),
)
_DRIVERS = "virtio_pci\nvirtio_blk\nvirtio_net\next4\n"
_UNNEEDED = (
    *("ahci", "i2c_i801", "i2c_smbus", "lpc_ich", "iTCO_wdt", "pcspkr", "psmouse", "serio_raw", "floppy"),
    *("evdev", "joydev", "rapl", "ghash_clmulni_intel", "sha512_ssse3", "sha256_ssse3", "sha1_ssse3"),
    *("aesni_intel", "button", "configfs", "efi_pstore", "qemu_fw_cfg", "sg"),
)
"""Drivers that nothing here uses; each takes an emulated processor a second or more."""
_CMDLINE = "console=ttyS0 net.ifnames=0 mitigations=off audit=0 fsck.mode=skip no_timer_check"
"""The kernel's own check of its timer panics where an emulated processor does not get its share of time."""
_FILES = {
    "etc/fstab": "LABEL=root / ext4 defaults,noatime 0 0\n",
    "etc/hostname": "node\n",
    "etc/hosts": "127.0.0.1\tlocalhost node\n",
    "etc/machine-id": "",
    "etc/modprobe.d/lab.conf": "".join(f"blacklist {name}\n" for name in _UNNEEDED),
    "etc/initramfs-tools/conf.d/lab": "MODULES=list\nCOMPRESS=gzip\nRESUME=none\nFSTYPE=ext4\n",
    "etc/initramfs-tools/modules": _DRIVERS,
    "etc/ssh/sshd_config.d/lab.conf": (
        "UseDNS no\nPermitRootLogin prohibit-password\nPerSourcePenalties no\nLoginGraceTime 0\n"
    ),
    "etc/systemd/system.conf.d/lab.conf": (
        "[Manager]\nDefaultTimeoutStartSec=900\nDefaultDeviceTimeoutSec=900\n"
    ),
    "etc/systemd/system/lab-network.service": (
        "[Unit]\nRequires=sys-subsystem-net-devices-eth0.device\nAfter=sys-subsystem-net-devices-eth0.device\n"
        "[Service]\nType=oneshot\nExecStart=ip address add 10.0.2.15/24 dev eth0\n"
        "ExecStart=ip link set eth0 up\n[Install]\nWantedBy=multi-user.target\n"
    ),
    "etc/default/grub": (
        "GRUB_TIMEOUT=0\nGRUB_TERMINAL=console\nGRUB_DISABLE_OS_PROBER=true\n"
        f'GRUB_CMDLINE_LINUX="{_CMDLINE}"\nGRUB_CMDLINE_LINUX_DEFAULT=""\n'
    ),
    "boot/grub/grub.cfg": (f"linux /vmlinuz root=LABEL=root ro {_CMDLINE}\ninitrd /initrd.img\nboot\n"),
    "boot/grub/early.cfg": (
        "search --no-floppy --label root --set=root\nset prefix=($root)/boot/grub\n"
        "configfile $prefix/grub.cfg\n"
    ),
}
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "fstrim.timer", "systemd-tmpfiles-clean.timer", "getty@tty1.service"),
    *("systemd-update-done.service", "systemd-journal-catalog-update.service"),
    *("systemd-hwdb-update.service", "ldconfig.service", "grub-common.service"),
)
_GRUB_MODULES = (
    *("part_gpt", "ext2", "normal", "configfile", "search", "search_label", "search_fs_uuid", "linux"),
    *("echo", "test", "gzio", "terminal", "boot", "true", "sleep", "all_video", "loadenv", "minicmd"),
)
_COMMANDS = (
    f"systemctl mask --quiet {' '.join(_MASKED)}",
    "passwd --quiet --lock root",
    "rm -rf /var/lib/apt/lists/* /var/log/*",
)
_MIB = 1 << 20
_ESP_START, _ESP_MIB, _ROOT_START = 1 * _MIB, 48, 49 * _MIB
_SIZE_MIB = 2560


@dataclass(frozen=True, slots=True)
class NodeImage:
    """A raw disk, and the line of a known_hosts file (without the host) that its server answers with."""

    disk: Path
    host_key: str


def make_node_image(lab: Lab, folder: Path) -> NodeImage:
    """Write the disk into ``folder``; the root it is made from is kept (minutes the first time)."""
    root = folder / "root"
    run("cp", "--archive", "--reflink=auto", str(_ensure_root(lab)), str(root))
    _write_keys(lab, root)
    run("chroot", str(root), "systemctl", "enable", "--quiet", "lab-network.service")
    run("chroot", str(root), "update-initramfs", "-u", "-k", "all")
    disk = folder / "node.raw"
    _make_disk(root, disk)
    host_key = " ".join((root / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])
    shutil.rmtree(root)
    return NodeImage(disk, host_key)


def _ensure_root(lab: Lab) -> Path:
    recipe = RootRecipe(SUITE, _PACKAGES, _COMMANDS, _FILES, apt_settings=apt_date_settings())
    with ExitStack() as stack:

        def sources() -> str:
            mirror = stack.enter_context(Mirror(mirror_content(lab)))
            return debian_sources(f"{mirror.listen('127.0.0.1')}/debian", SUITE)

        return ensure_root(lab.images, recipe, sources)


def _write_keys(lab: Lab, root: Path) -> None:
    for old in root.glob("etc/ssh/ssh_host_*"):
        old.unlink()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / "etc/ssh/ssh_host_ed25519_key"))
    folder = root / "root" / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "authorized_keys").write_text(ensure_lab_key(lab))


def _make_disk(root: Path, disk: Path) -> None:
    """A GPT with an EFI partition and the root file system, written without mounting anything."""
    with disk.open("wb") as file:
        os.truncate(file.fileno(), _SIZE_MIB * _MIB)
    layout = (
        "label: gpt\n"
        f"start={_ESP_START // 512}, size={_ESP_MIB * _MIB // 512}, type=uefi\n"
        f"start={_ROOT_START // 512}, type=linux\n"
    )
    run("sfdisk", "--quiet", str(disk), input_text=layout)
    _fill_efi_partition(root, f"{disk}@@{_ESP_START}")
    blocks = (_SIZE_MIB * _MIB - _ROOT_START - _MIB) // 4096
    run(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-b", "4096", "-m", "0", "-d", str(root)),
        *("-E", f"offset={_ROOT_START},lazy_itable_init=1,lazy_journal_init=1", str(disk), str(blocks)),
    )


def _fill_efi_partition(root: Path, place: str) -> None:
    loader = "boot/grub/bootx64.efi"
    run(
        *("chroot", str(root), "grub-mkimage", "-O", "x86_64-efi", "-o", f"/{loader}", "-p", "/boot/grub"),
        *("-c", "/boot/grub/early.cfg", *_GRUB_MODULES),
    )
    sectors = str(_ESP_MIB * _MIB // 512)
    run("mformat", "-i", place, "-F", "-T", sectors, "-h", "64", "-s", "32", "-v", "EFI", "::")
    for name in ("EFI", "EFI/BOOT"):
        run("mmd", "-i", place, f"::{name}")
    run("mcopy", "-i", place, str(root / loader), "::EFI/BOOT/BOOTX64.EFI")
