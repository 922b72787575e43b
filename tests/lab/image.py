"""The base image of the lab's hosts: a small Debian, built once per recipe."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tests.lab.mirror import Mirror
from tests.lab.mirror_debian import apt_date_settings
from tests.lab.mirror_files import apt_sources, mirror_content
from tests.lab.system import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.layout import Lab

ADMIN = "admin"
SUITES = ("trixie", "bookworm")
"""Debian releases that hosts can have; the first one is the default."""

_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
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


@dataclass(frozen=True, slots=True)
class ImageRecipe:
    """All that decides what is in an image."""

    suite: str = "trixie"
    packages: tuple[str, ...] = _PACKAGES
    commands: tuple[str, ...] = _COMMANDS
    apt_settings: str = ""

    @property
    def files(self) -> dict[str, str]:
        """Path below the root → text."""
        return _FILES | _FILES_OF_SUITE[self.suite]

    @property
    def digest(self) -> str:
        text = json.dumps([asdict(self), self.files], sort_keys=True)
        return f"{self.suite}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def ensure_image(lab: Lab, suite: str = SUITES[0]) -> Path:
    """The root file system of the current recipe; built when it is missing (about a minute)."""
    recipe = ImageRecipe(suite, apt_settings=apt_date_settings())
    image = lab.images / recipe.digest
    with lab.lock("image"):
        if not image.is_dir():
            _build(lab, recipe, image)
    return image


def remove_unfinished(lab: Lab) -> None:
    """Delete what a killed build left behind; the caller holds no image lock."""
    with lab.lock("image"):
        for path in lab.images.glob("*.partial"):
            shutil.rmtree(path)


def _build(lab: Lab, recipe: ImageRecipe, image: Path) -> None:
    partial = image.with_name(f"{image.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    lab.images.mkdir(parents=True, exist_ok=True)
    with Mirror(mirror_content(lab)) as mirror:
        base_url = mirror.listen("127.0.0.1")
        sources = apt_sources(base_url, recipe.suite, keyring=_KEYRING)
        run(*_mmdebstrap(recipe, partial), input_text=sources)
    for name, text in recipe.files.items():
        (partial / name).write_text(text)
    partial.rename(image)


def _mmdebstrap(recipe: ImageRecipe, target: Path) -> list[str]:
    hooks = [f"--customize-hook=chroot \"$1\" sh -c '{command}'" for command in recipe.commands]
    options = [f"--aptopt={line}" for line in recipe.apt_settings.splitlines()]
    return [
        *("mmdebstrap", "--mode=root", "--variant=apt", "--quiet"),
        f"--include={','.join(recipe.packages)}",
        *options,
        *hooks,
        *(recipe.suite, str(target), "-"),
    ]
