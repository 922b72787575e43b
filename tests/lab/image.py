"""The base image of the lab's hosts: a small Debian, built once per recipe."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from localai_deploy.sandbox.debian_root import RootRecipe, apt_date_settings, debian_sources, ensure_root
from tests.lab.mirror import Mirror
from tests.lab.mirror_files import mirror_content

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.layout import Lab

ADMIN = "admin"
SUITES = ("trixie", "bookworm")
"""Debian releases that hosts can have; the first one is the default."""

_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd"),
    *("openssh-server", "python3", "sudo", "iproute2", "ca-certificates"),
)
_FILES = {
    "etc/fstab": "",
    "etc/hostname": "lab\n",
    "etc/resolv.conf": "options timeout:1 attempts:1\n",
    "etc/ssh/sshd_config.d/lab.conf": "UseDNS no\nPasswordAuthentication no\n",
}
_FILES_OF_SUITE = {
    "trixie": {"etc/ssh/sshd_config.d/lab-penalties.conf": "PerSourcePenalties no\n"},
    "bookworm": {},
}
"""A server that shuts out an address after several failed logins would make tests depend on their order."""
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("fstrim.timer", "man-db.timer", "systemd-networkd.service", "systemd-networkd.socket"),
    *("console-getty.service", "getty.target", "sys-kernel-config.mount", "sys-kernel-debug.mount"),
    *("systemd-journal-catalog-update.service", "systemd-update-done.service", "ldconfig.service"),
)
_COMMANDS = (
    f"useradd --create-home --shell /bin/bash {ADMIN}",
    f"systemctl mask {' '.join(_MASKED)}",
    "rm -f /etc/ssh/ssh_host_* /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/machine-id",
)


def image_recipe(suite: str) -> RootRecipe:
    """All that decides what is in an image."""
    return RootRecipe(
        suite, _PACKAGES, _COMMANDS, _FILES | _FILES_OF_SUITE[suite], apt_settings=apt_date_settings()
    )


def ensure_image(lab: Lab, suite: str = SUITES[0]) -> Path:
    """The root file system of the current recipe; built when it is missing (about a minute)."""
    with ExitStack() as stack:

        def sources() -> str:
            mirror = stack.enter_context(Mirror(mirror_content(lab)))
            return debian_sources(f"{mirror.listen('127.0.0.1')}/debian", suite)

        return ensure_root(lab.images, image_recipe(suite), sources)
