"""What the lab needs from the machine it runs on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_PACKAGE_OF_COMMAND = {
    "dpkg-deb": "dpkg",
    "gpgv": "gpgv",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "ssh": "openssh-client",
    "systemd-nspawn": "systemd-container",
}
_ALSO = ("ca-certificates", "debian-archive-keyring")
_PACKAGE_OF_IMAGE_COMMAND = {
    "mke2fs": "e2fsprogs",
    "mformat": "mtools",
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "xorriso": "xorriso",
}
_PACKAGE_OF_GUEST_FILE = {
    "/usr/bin/qemu-system-x86_64": "qemu-system-x86",
    "/usr/share/OVMF/OVMF_CODE_4M.fd": "ovmf",
    "/usr/sbin/dnsmasq": "dnsmasq-base",
}
_LIBVIRT_DRIVERS = "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver"
_PACKAGE_OF_VAGRANT_FILE = {
    "/usr/bin/vagrant": "vagrant",
    "/usr/bin/virsh": "libvirt-clients",
    f"{_LIBVIRT_DRIVERS}/libvirt_driver_qemu.so": "libvirt-daemon-driver-qemu",
    "/usr/sbin/libvirtd": "libvirt-daemon",
    "/etc/libvirt/libvirtd.conf": "libvirt-daemon-system",
    "/usr/share/rubygems-integration/all/gems/vagrant-libvirt-0.11.2": "vagrant-libvirt",
}


def system_packages() -> tuple[str, ...]:
    """The apt packages to install before the first host."""
    return tuple(sorted({*_PACKAGE_OF_COMMAND.values(), *_ALSO}))


def missing_packages() -> tuple[str, ...]:
    """Those of :func:`system_packages` whose command is not on the PATH."""
    return tuple(sorted({p for c, p in _PACKAGE_OF_COMMAND.items() if shutil.which(c) is None}))


def image_packages() -> tuple[str, ...]:
    """The apt packages to install before a cloud image can be built."""
    return tuple(sorted(_PACKAGE_OF_IMAGE_COMMAND.values()))


def guest_packages() -> tuple[str, ...]:
    """The apt packages to install before an emulated guest can be started from a cloud image."""
    return tuple(sorted({*image_packages(), *_PACKAGE_OF_GUEST_FILE.values()}))


def vagrant_packages() -> tuple[str, ...]:
    """The apt packages to install, where the distribution has them, before Vagrant can make a machine."""
    return tuple(sorted({*guest_packages(), *_PACKAGE_OF_VAGRANT_FILE.values()}))


def reason_to_skip_images() -> str:
    """Why no cloud image can be built here; empty when one can."""
    missing = sorted({p for c, p in _PACKAGE_OF_IMAGE_COMMAND.items() if shutil.which(c) is None})
    if missing:
        return f"apt packages missing for cloud images: {' '.join(missing)}"
    return reason_to_skip_hosts()


def reason_to_skip_guests() -> str:
    """Why no emulated guest can be started here; empty when one can."""
    missing = sorted({p for f, p in _PACKAGE_OF_GUEST_FILE.items() if not Path(f).exists()})
    if missing:
        return f"apt packages missing for emulated guests: {' '.join(missing)}"
    return reason_to_skip_images()


def reason_to_skip_vagrant() -> str:
    """Why Vagrant cannot make a machine here; empty when it can."""
    missing = sorted({p for f, p in _PACKAGE_OF_VAGRANT_FILE.items() if not Path(f).exists()})
    if missing:
        return f"apt packages missing for Vagrant (Debian 12 is the last that has them): {' '.join(missing)}"
    return reason_to_skip_guests()


def reason_to_skip_hosts() -> str:
    """Why no host can be started here; empty when one can."""
    if os.geteuid() != 0:
        return "throw-away hosts need root (systemd-nspawn, network namespaces)"
    missing = missing_packages()
    if missing:
        return f"apt packages missing for throw-away hosts: {' '.join(missing)}"
    return ""
