"""``LabHost``: a throw-away Debian machine with real systemd and SSH, up in seconds."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

from localai_deploy.sandbox.command import run
from localai_deploy.sandbox.container import Container
from localai_deploy.sandbox.debian_root import debian_sources
from localai_deploy.sandbox.rootfs import Overlay, copy_tree, unmount
from tests.lab.image import ADMIN, SUITES, ensure_image
from tests.lab.layout import Lab, LabError
from tests.lab.mirror_daemon import ensure_mirror
from tests.lab.network import HostNetwork, create_network, host_names, namespace_of, remove_network
from tests.lab.seed import SUDO_PASSWORD, Seed, Sudo
from tests.lab.state import Entry, Layers, whole_state
from tests.lab.system import reason_to_skip_hosts

PRISTINE = "pristine"

_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_LOGIN_TIMEOUT_S = 60.0
_POWEROFF_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class LabHost:
    """A host that was started; values that its record keeps, and what can be done with it."""

    lab: Lab
    name: str
    network: HostNetwork
    image: Path
    sudo: Sudo
    fingerprint: str
    host_key: str

    port = 22
    user = ADMIN

    @property
    def address(self) -> str:
        return self.network.address

    @property
    def private_key(self) -> Path:
        return self.lab.private_key

    @property
    def sudo_password(self) -> str:
        """What ``sudo`` asks for; empty when it asks for nothing or is not allowed at all."""
        return SUDO_PASSWORD if self.sudo == "password" else ""

    @property
    def directory(self) -> Path:
        return self.lab.hosts / self.name

    @property
    def rootfs(self) -> Path:
        """The host's root as it sees it, from outside."""
        return self.directory / "rootfs"

    @property
    def upper(self) -> Path:
        """Only what differs from :attr:`image`."""
        return self.directory / "upper"

    @property
    def known_hosts(self) -> Path:
        """A known_hosts file that holds this host's key only."""
        return self.directory / "known_hosts"

    @property
    def console_log(self) -> Path:
        return self.container.console_log

    @property
    def container(self) -> Container:
        return _container(self.lab, self.name)

    @property
    def overlay(self) -> Overlay:
        return Overlay(self.image, self.upper, self.directory / "work", self.rootfs)

    def __enter__(self) -> LabHost:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def is_running(self) -> bool:
        return bool(self.container.pids())

    def ssh_command(self, command: str = "") -> list[str]:
        """argv of an ssh to this host that uses no configuration of the caller."""
        options = (
            *("-F", "none", "-i", str(self.private_key), "-p", str(self.port)),
            *("-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=5"),
            *("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", "GlobalKnownHostsFile=none"),
            *("-o", "StrictHostKeyChecking=yes", "-o", "LogLevel=ERROR"),
        )
        return ["ssh", *options, f"{self.user}@{self.address}", *([command] if command else [])]

    def ssh(self, command: str, *, check: bool = True, timeout_s: float = 120) -> str:
        """Run a shell command as the admin, over SSH; its stdout."""
        done = subprocess.run(
            self.ssh_command(command), capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if check and done.returncode != 0:
            raise LabError(f"{self.name}: {command!r} ended with {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def root(self, *argv: str, check: bool = True) -> str:
        """Run a command as root inside, whatever SSH and sudo say; its stdout."""
        inside = ("nsenter", "--target", str(self.container.leader()), "--all", "--")
        return run(*inside, "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin", *argv, check=check)

    def boot(self) -> None:
        """Start it and wait until the admin can log in."""
        self.container.start(self.network.namespace)
        deadline = time.monotonic() + _LOGIN_TIMEOUT_S
        while subprocess.run(self.ssh_command("true"), capture_output=True, check=False).returncode != 0:
            if time.monotonic() > deadline or not self.is_running():
                raise LabError(f"host {self.name} does not let its admin log in; see {self.console_log}")
            time.sleep(0.05)

    def state(self, without_content: Collection[str] = ()) -> dict[str, Entry]:
        """All that changed since the host was new (see :func:`tests.lab.state.whole_state`)."""
        layers = Layers(self.rootfs, self.upper, self._snapshot(PRISTINE), self.image)
        return whole_state(layers, without_content)

    def snapshot(self, label: str) -> None:
        """Shut down in order, keep the state as ``label``, boot again."""
        self._power_off()
        copy_tree(self.upper, self._snapshot(label))
        self.boot()

    def restart(self) -> None:
        """Shut down in order and boot again."""
        self._power_off()
        self.boot()

    def reset(self, label: str = PRISTINE) -> None:
        """Return to a snapshot, or to the state before the first boot: same address, same keys."""
        saved = self._snapshot(label)
        if not saved.is_dir():
            raise LabError(f"host {self.name} has no snapshot {label!r}")
        self.container.kill()
        unmount(self.rootfs)
        self.overlay.replace_upper(saved)
        self.overlay.mount()
        self.boot()

    def _power_off(self) -> None:
        """Shut down in order; what has not ended after 30 s is killed."""
        if self.container.pids():
            os.kill(self.container.leader(), signal.SIGRTMIN + 4)
            deadline = time.monotonic() + _POWEROFF_TIMEOUT_S
            while self.container.pids() and time.monotonic() < deadline:
                time.sleep(0.02)
        self.container.kill()

    def _snapshot(self, label: str) -> Path:
        return self.directory / "snapshots" / label

    def stop(self) -> None:
        """End it and remove all of it: processes, mounts, namespace, files."""
        remove_host(self.lab, self.name)

    def save(self) -> None:
        """Write the record that :func:`find_host` reads."""
        record = asdict(self) | {"lab": None, "image": str(self.image)}
        (self.directory / "host.json").write_text(json.dumps(record, indent=1))


def start_host(lab: Lab, name: str, sudo: Sudo = "nopasswd", suite: str = SUITES[0]) -> LabHost:
    """A new host that the admin can log in to; one of that name must not be there.

    :raises LabError: bad or taken name, missing packages, or it does not come up (then nothing is left).
    """
    if not _NAME.fullmatch(name):
        raise LabError(f"{name!r} is not a host name (lower-case letters, digits, -; at most 31)")
    if reason := reason_to_skip_hosts():
        raise LabError(reason)
    image = ensure_image(lab, suite)
    mirror_url = ensure_mirror(lab)
    try:
        (lab.hosts / name).mkdir(parents=True)
    except FileExistsError:
        raise LabError(f"host {name} is there already: 'python -m tests.lab down {name}' first") from None
    try:
        return _start(lab, name, image, debian_sources(f"{mirror_url}/debian", suite), sudo)
    except BaseException:
        remove_host(lab, name)
        raise


def _start(lab: Lab, name: str, image: Path, sources: str, sudo: Sudo) -> LabHost:
    network = create_network(lab, name)
    host = LabHost(lab, name, network, image, sudo, fingerprint="", host_key="")
    host.overlay.mount()
    Seed(lab, name, network, sources, sudo).plant(host.rootfs)
    copy_tree(host.upper, host.directory / "snapshots" / PRISTINE)
    host = _with_key(host)
    host.save()
    host.boot()
    return host


def remove_host(lab: Lab, name: str) -> None:
    """Take away what there is of a host, finished or not, from its name alone."""
    container = _container(lab, name)
    container.kill()
    unmount(container.rootfs)
    remove_network(namespace_of(lab, name))
    shutil.rmtree(lab.hosts / name, ignore_errors=True)


def _container(lab: Lab, name: str) -> Container:
    directory = lab.hosts / name
    return Container(namespace_of(lab, name), name, directory / "rootfs", directory / "console.log")


def _with_key(host: LabHost) -> LabHost:
    public = host.rootfs / "etc/ssh/ssh_host_ed25519_key.pub"
    host_key = " ".join(public.read_text().split()[:2])
    host.known_hosts.write_text(f"{host.address} {host_key}\n")
    fingerprint = run("ssh-keygen", "-l", "-f", str(public)).split()[1]
    return LabHost(host.lab, host.name, host.network, host.image, host.sudo, fingerprint, host_key)


def find_host(lab: Lab, name: str) -> LabHost | None:
    """The host of that name, running or not; None when there is none or it never came up."""
    try:
        record = json.loads((lab.hosts / name / "host.json").read_text())
    except FileNotFoundError:
        return None
    record |= {"lab": lab, "image": Path(record["image"]), "network": HostNetwork(**record["network"])}
    return LabHost(**record)


def known_names(lab: Lab) -> list[str]:
    """Names of all hosts that have left anything, also of unfinished ones."""
    return sorted({*host_names(lab), *(path.name for path in lab.hosts.glob("*"))})
