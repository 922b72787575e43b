"""What makes an image one particular host: name, keys, admin, sources."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from localai_deploy.sandbox.command import run
from tests.lab.image import ADMIN
from tests.lab.mirror_daemon import ensure_authority
from tests.lab.network import MIRROR_NAMES, HostNetwork, mirror_address

if TYPE_CHECKING:
    from tests.lab.layout import Lab

Sudo = Literal["nopasswd", "password", "none"]
SUDO_PASSWORD = "lab-admin-password"

_SUDOERS = {
    "nopasswd": f"{ADMIN} ALL=(ALL:ALL) NOPASSWD: ALL\n",
    "password": f"{ADMIN} ALL=(ALL:ALL) ALL\n",
    "none": "",
}


@dataclass(frozen=True, slots=True)
class Seed:
    """One host's own facts, written into its root before it boots."""

    lab: Lab
    name: str
    network: HostNetwork
    apt_sources: str
    sudo: Sudo

    def plant(self, rootfs: Path) -> None:
        """Write all of it."""
        for path, text in self._files().items():
            _write(rootfs / path, text)
        (rootfs / "var/lib/dbus/machine-id").symlink_to("/etc/machine-id")
        _write(rootfs / "etc/sudoers.d/lab", _SUDOERS[self.sudo], mode=0o440)
        _make_key(rootfs / "etc/ssh/ssh_host_ed25519_key", f"root@{self.name}")
        self._authorise(rootfs)
        self._trust(rootfs)
        if self.sudo == "password":
            run(
                "chpasswd",
                "--crypt-method=SHA512",
                f"--root={rootfs}",
                input_text=f"{ADMIN}:{SUDO_PASSWORD}\n",
            )

    def _files(self) -> dict[str, str]:
        hosts = {
            "127.0.0.1": "localhost",
            "127.0.1.1": self.name,
            "::1": "localhost",
            mirror_address(self.lab): " ".join(MIRROR_NAMES),
        }
        return {
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": "".join(f"{address}\t{names}\n" for address, names in hosts.items()),
            "etc/machine-id": hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest() + "\n",
            "etc/apt/sources.list.d/debian.sources": self.apt_sources,
        }

    def _authorise(self, rootfs: Path) -> None:
        ssh = rootfs / "home" / ADMIN / ".ssh"
        ssh.mkdir(mode=0o700)
        _write(ssh / "authorized_keys", ensure_lab_key(self.lab), mode=0o600)
        run("chroot", str(rootfs), "chown", "-R", f"{ADMIN}:{ADMIN}", f"/home/{ADMIN}/.ssh")

    def _trust(self, rootfs: Path) -> None:
        """What update-ca-certificates would do with the lab's authority."""
        authority = ensure_authority(self.lab)
        text = authority.certificate.read_text()
        local = Path("usr/local/share/ca-certificates/lab.crt")
        _write(rootfs / local, text)
        certificates = rootfs / "etc/ssl/certs"
        (certificates / "lab.pem").symlink_to(Path("/") / local)
        (certificates / authority.hash_name()).symlink_to("lab.pem")
        with (certificates / "ca-certificates.crt").open("a") as bundle:
            bundle.write(text)


def ensure_lab_key(lab: Lab) -> str:
    """The public half of the lab's own key, which is made at first use."""
    with lab.lock("keys"):
        if not lab.private_key.is_file():
            lab.private_key.parent.mkdir(parents=True, exist_ok=True)
            _make_key(lab.private_key, "lab")
        return lab.private_key.with_suffix(".pub").read_text()


def _make_key(path: Path, comment: str) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path))


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
