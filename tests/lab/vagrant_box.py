"""A Vagrant box for tests without internet: Debian that boots under emulation, in place of Debian's own box.

It has what boxes have: a user ``vagrant`` with Vagrant's insecure key and sudo, SSH, DHCP. Its own
Vagrantfile brings kernel and initramfs, since libvirt's default firmware would find no boot loader on the
disk. It knows the mirror of the lab that built it.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localai_deploy.sandbox.command import run
from localai_deploy.sandbox.debian_root import RootRecipe, apt_date_settings, debian_sources, ensure_root
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
USER = "vagrant"
_PACKAGES = (
    *("systemd", "systemd-sysv", "udev", "dbus", "libpam-systemd", "initramfs-tools", "e2fsprogs", "procps"),
    *("linux-image-cloud-amd64", "openssh-server", "sudo", "iproute2", "ca-certificates"),
    *("python3", "python3-venv"),
)
_FILES = {
    "etc/fstab": "LABEL=root / ext4 defaults,noatime 0 0\n",
    "etc/hostname": "box\n",
    "etc/machine-id": "",
    "etc/sudoers.d/vagrant": f"{USER} ALL=(ALL) NOPASSWD: ALL\n",
    "etc/ssh/sshd_config.d/lab.conf": "UseDNS no\nPerSourcePenalties no\n",
    "etc/systemd/network/lab.network": "[Match]\nName=en* eth*\n[Network]\nDHCP=ipv4\n",
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\n",
    "etc/initramfs-tools/conf.d/lab": "MODULES=list\nCOMPRESS=gzip\nRESUME=none\nFSTYPE=ext4\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\nvirtio_net\next4\n",
}
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "fstrim.timer", "systemd-tmpfiles-clean.timer", "getty@tty1.service"),
    *("systemd-update-done.service", "systemd-journal-catalog-update.service"),
    *("systemd-hwdb-update.service", "ldconfig.service"),
)
_COMMANDS = (
    f"useradd --create-home --shell /bin/bash {USER}",
    f"systemctl mask --quiet {' '.join(_MASKED)}",
    "systemctl enable --quiet systemd-networkd.service",
    "passwd --quiet --lock root",
    "rm -f /etc/ssh/ssh_host_* /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/resolv.conf",
    "rm -rf /var/lib/apt/lists/* /var/log/*",
)
_SIZE_MIB = 5120
_METADATA = {"provider": "libvirt", "format": "qcow2", "virtual_size": _SIZE_MIB // 1024}
_VAGRANTFILE = """\
Vagrant.configure("2") do |config|
  config.vm.boot_timeout = 1800
  config.vm.provider :libvirt do |libvirt|
    libvirt.driver = "qemu"
    libvirt.machine_type = "q35"
    libvirt.cpu_mode = "custom"
    libvirt.cpu_model = "qemu64"
    libvirt.qemuargs value: "-cpu"
    libvirt.qemuargs value: "max"
    libvirt.kernel = File.join(__dir__, "vmlinuz")
    libvirt.initrd = File.join(__dir__, "initrd.img")
    libvirt.cmd_line = "root=LABEL=root ro console=ttyS0 net.ifnames=0 quiet mitigations=off audit=0"
    libvirt.graphics_type = "none"
    libvirt.video_type = "none"
  end
end
"""
_KEYS = "/usr/share/rubygems-integration/all/gems"


@dataclass(frozen=True, slots=True)
class VagrantBox:
    """The box's file, as ``vagrant package`` makes them."""

    path: Path

    def write_metadata(self, folder: Path, name: str, version: str) -> Path:
        """A catalogue file that offers the box under another's name and version."""
        provider = {"name": "libvirt", "url": self.path.as_uri()}
        catalogue = {"name": name, "versions": [{"version": version, "providers": [provider]}]}
        path = folder / f"{name.replace('/', '-')}.json"
        path.write_text(json.dumps(catalogue))
        return path


def ensure_vagrant_box(lab: Lab) -> VagrantBox:
    """The box of the current recipe; built when it is missing (minutes).

    :raises LabError: it cannot be built here; the text names what is missing.
    """
    if reason := reason_to_skip_images():
        raise LabError(reason)
    recipe = _recipe(lab)
    path = lab.images / f"vagrant-{recipe.digest}.box"
    ensure_mirror(lab)
    with lab.lock("vagrant-box"):
        if not path.is_file():
            _build(lab, _ensure_root(lab, recipe), path)
    return VagrantBox(path)


def _recipe(lab: Lab) -> RootRecipe:
    mirror = mirror_client(lab).base_url
    names = f"{mirror_address(lab)}\t{' '.join(MIRROR_NAMES)}\n"
    files = {
        "etc/apt/sources.list.d/debian.sources": debian_sources(f"{mirror}/debian", SUITE),
        "etc/hosts": f"127.0.0.1\tlocalhost box\n::1\tlocalhost\n{names}",
        f"home/{USER}/.ssh/authorized_keys": _insecure_key(),
    }
    return RootRecipe(SUITE, _PACKAGES, _COMMANDS, _FILES | files, apt_settings=apt_date_settings())


def _insecure_key() -> str:
    """The public key that every new box lets in; Vagrant replaces it at the first boot."""
    found = sorted(Path(_KEYS).glob("vagrant-[0-9]*/keys/vagrant.pub"))
    if not found:
        raise LabError(f"Vagrant's insecure key is not below {_KEYS}")
    return found[-1].read_text()


def _ensure_root(lab: Lab, recipe: RootRecipe) -> Path:
    with ExitStack() as stack:

        def sources() -> str:
            mirror = stack.enter_context(Mirror(mirror_content(lab)))
            return debian_sources(f"{mirror.listen('127.0.0.1')}/debian", SUITE)

        return ensure_root(lab.images, recipe, sources)


def _build(lab: Lab, kept: Path, path: Path) -> None:
    work = lab.directory / "vagrant-box.building"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    root = work / "root"
    run("cp", "--archive", "--reflink=auto", str(kept), str(root))
    _finish(lab, root)
    _make_disk(root, work)
    (work / "metadata.json").write_text(json.dumps(_METADATA))
    (work / "Vagrantfile").write_text(_VAGRANTFILE)
    shutil.copy(next(root.glob("boot/vmlinuz-*")), work / "vmlinuz")
    shutil.copy(next(root.glob("boot/initrd.img-*")), work / "initrd.img")
    box = work / "made.box"
    with tarfile.open(box, "w") as archive:
        for name in ("metadata.json", "Vagrantfile", "vmlinuz", "initrd.img", "box.img"):
            archive.add(work / name, name)
    for old in path.parent.glob("vagrant-*.box"):
        old.unlink()
    box.rename(path)
    shutil.rmtree(work)


def _finish(lab: Lab, root: Path) -> None:
    for name, text in trust_files(ensure_authority(lab).certificate, root).items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / "etc/ssh/ssh_host_ed25519_key"))
    (root / "etc/sudoers.d/vagrant").chmod(0o440)
    (root / f"home/{USER}/.ssh").chmod(0o700)
    run("chroot", str(root), "chown", "--recursive", f"{USER}:{USER}", f"/home/{USER}")
    run("chroot", str(root), "update-initramfs", "-u", "-k", "all")


def _make_disk(root: Path, work: Path) -> None:
    """An ext4 file system without a partition table, written without mounting anything."""
    raw, image = work / "disk.raw", work / "box.img"
    with raw.open("wb") as file:
        os.truncate(file.fileno(), _SIZE_MIB << 20)
    run(
        *("mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-b", "4096", "-m", "0", "-d", str(root)),
        *("-E", "lazy_itable_init=1,lazy_journal_init=1", str(raw)),
    )
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image))
    raw.unlink()
