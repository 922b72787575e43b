"""The distribution's Vagrant with libvirt, in a network and with state of its own.

libvirtd runs in a namespace of the lab; its folders of state and settings are bound over the system's for it
and for Vagrant alone. There is no systemd and no D-Bus, and QEMU emulates the processor.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.layout import REPOSITORY, LabError
from tests.lab.network import HostNetwork, create_network, remove_network

if TYPE_CHECKING:
    from tests.lab.layout import Lab

_START_TIMEOUT_S = 60.0
_QEMU_SETTINGS = """\
user = "root"
group = "root"
security_driver = "none"
stdio_handler = "file"
namespaces = []
cgroup_controllers = []
remember_owner = 0
dynamic_ownership = 0
"""
_BOUND = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "run": "/run/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}


@dataclass
class VagrantPlace:
    """Where ``vagrant`` finds a libvirtd; nothing of it outlives the context.

    :param folder: short, since sockets lie below it.
    """

    lab: Lab
    name: str
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="vagrant-")))
    network: HostNetwork | None = None
    process: subprocess.Popen[bytes] | None = None

    @property
    def inventory(self) -> Path:
        """The folder of Vagrant's own inventory."""
        return self.folder / "dot" / "provisioners" / "ansible" / "inventory"

    def __enter__(self) -> VagrantPlace:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if self.network is not None:
            remove_network(self.network.namespace)
        if self.process is not None:
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        for part in (*_BOUND, "home"):
            (self.folder / part).mkdir()
        for part in _BOUND.values():
            Path(part).mkdir(parents=True, exist_ok=True)
        shutil.copytree("/etc/libvirt", self.folder / "etc", dirs_exist_ok=True)
        shutil.rmtree(self.folder / "etc/qemu", ignore_errors=True)
        (self.folder / "etc/qemu.conf").write_text(_QEMU_SETTINGS)
        self.network = create_network(self.lab, self.name)
        binds = "".join(f"mount --bind {self.folder / part} {path}\n" for part, path in _BOUND.items())
        with (self.folder / "libvirtd.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self.network.namespace, "sh", "-ec"),
                    f"{binds}exec nice -n 19 libvirtd",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait()

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self.run("virsh", "--connect", "qemu:///system", "version").returncode != 0:
            if time.monotonic() > deadline or (self.process and self.process.poll() is not None):
                raise LabError(f"libvirtd does not start: {(self.folder / 'libvirtd.log').read_text()}")
            time.sleep(0.5)

    def run(self, *argv: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command there, in the checkout, as a user with an empty home."""
        assert self.process is not None
        inside = ("nsenter", f"--target={self.process.pid}", "--mount", "--net", "--")
        return subprocess.run(
            [*inside, "env", f"--chdir={REPOSITORY}", "nice", "-n", "19", *argv],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def machines(self) -> list[str]:
        """Names of all that libvirt knows, running or not."""
        return self.run("virsh", "--connect", "qemu:///system", "list", "--all", "--name").stdout.split()

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.folder / "home"),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), "/usr/sbin:/usr/bin:/sbin:/bin")),
            "VAGRANT_HOME": str(self.folder / "home" / ".vagrant.d"),
            "VAGRANT_DOTFILE_PATH": str(self.folder / "dot"),
            "VAGRANT_DEFAULT_PROVIDER": "libvirt",
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "VAGRANT_BOX_UPDATE_CHECK_DISABLE": "1",
        }


def install(place: VagrantPlace, box: Path) -> None:
    """Have the box of a catalogue file."""
    done = place.run("vagrant", "box", "add", str(box), "--provider", "libvirt", timeout_s=600)
    if done.returncode != 0:
        raise LabError(f"vagrant box add: {done.stdout}")
