"""Make a lab host look like a WSL distribution: name of the kernel, Windows' drive, driver and settings.

What is real: Debian, systemd, SSH. What is not: the kernel, ``/dev/dxg`` (a node without a driver), the
drive (a tmpfs whose device is called ``C:\\``), everything that Windows itself would do.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.host import LabHost

DISTRIBUTION = "Lab-Debian"
PROFILE = "/mnt/c/Users/ann/.wslconfig"
LIBRARIES = "usr/lib/wsl/lib"
_KERNEL = "6.6.87.2-microsoft-standard-WSL2"
_FILES = {
    "usr/share/lab-wsl/osrelease": f"{_KERNEL}\n",
    "usr/share/lab-wsl/version": f"Linux version {_KERNEL} (root@439a258ad544) (gcc (GCC) 11.2.0) #1 SMP\n",
    "usr/bin/wslpath": f"#!/bin/sh\nprintf '%s\\n' '\\\\wsl.localhost\\{DISTRIBUTION}\\'\n",
    "etc/fstab": (
        "/usr/share/lab-wsl/osrelease /proc/sys/kernel/osrelease none bind 0 0\n"
        "/usr/share/lab-wsl/version /proc/version none bind 0 0\n"
        "C:\\134 /mnt/c tmpfs mode=0755 0 0\n"
    ),
}
_NVIDIA_SMI = "#!/bin/sh\necho '0x268410DE, 560.94'\n"
_SYSTEMD, _HIDDEN = "/run/systemd/system", "/run/systemd/hidden"


def imitate_wsl(host: LabHost) -> None:
    """Restart the host as a distribution of WSL 2 with systemd on."""
    for name, text in _FILES.items():
        path = host.rootfs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if name.startswith("usr/bin") else 0o644)
    (host.rootfs / "mnt/c").mkdir(parents=True, exist_ok=True)
    host.restart()


def set_profile(host: LabHost, text: str) -> None:
    """What the Windows user's ``.wslconfig`` says, until the host is restarted."""
    script = f"mkdir -p {PROFILE.rpartition('/')[0]} && printf %s {shlex.quote(text)} >{PROFILE}"
    host.root("sh", "-euc", script)


def give_card(host: LabHost) -> None:
    """Windows hands a card in: its driver's folder, and ``/dev/dxg`` until the host is restarted."""
    program = host.rootfs / LIBRARIES / "nvidia-smi"
    program.parent.mkdir(parents=True)
    program.write_text(_NVIDIA_SMI)
    program.chmod(0o755)
    host.root("mknod", "-m", "0666", "/dev/dxg", "c", "10", "125")


def hide_systemd(host: LabHost) -> None:
    """What runs goes on, and whoever asks is told that the system was booted without systemd."""
    host.root("mv", _SYSTEMD, _HIDDEN)


def show_systemd(host: LabHost) -> None:
    """Inverse of :func:`hide_systemd`; a restart does the same."""
    host.root("mv", _HIDDEN, _SYSTEMD)
