"""One systemd container: its cgroup and its processes. Knows nothing of networks or SSH.

The container runs in a cgroup of its own, so that everything in it can be found and ended without any
record: also after the process that started it is gone.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from localai_deploy.sandbox.command import MachineError, kill

_CGROUP_MOUNTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"))
_NSPAWN_RUN = Path("/run/systemd/nspawn")
_ENTER = 'for group in $1; do echo $$ > "$group/cgroup.procs"; done; shift; exec "$@"'
_KILL_TIMEOUT_S = 10.0
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Container:
    """A container called ``unit`` (unique on this machine) whose root is ``rootfs``.

    :param capabilities: what its root may do beyond the usual; a container that sets up its own network needs
        CAP_NET_ADMIN.
    """

    unit: str
    hostname: str
    rootfs: Path
    console_log: Path
    capabilities: tuple[str, ...] = ()

    def start(self, namespace: str) -> None:
        """Boot systemd in the network namespace; returns at once, the container outlives this process."""
        groups = self._cgroups()
        for group in groups:
            group.mkdir(exist_ok=True)
        with self.console_log.open("w") as log:
            process = subprocess.Popen(
                ["sh", "-c", _ENTER, "sh", " ".join(map(str, groups)), *self._command(namespace)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
                env={"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_LOCK": "0"},
            )
        while not self.pids() and process.poll() is None:
            time.sleep(_POLL_S)

    def _command(self, namespace: str) -> list[str]:
        return [
            *("systemd-nspawn", "--quiet", "--boot", "--directory", str(self.rootfs)),
            *("--machine", self.unit, "--hostname", self.hostname, "--register=no", "--keep-unit"),
            *(f"--network-namespace-path=/run/netns/{namespace}", "--link-journal=no"),
            *("--resolv-conf=off", "--timezone=off", "--console=read-only"),
            *(f"--capability={capability}" for capability in self.capabilities),
        ]

    def _cgroups(self) -> list[Path]:
        """Its cgroup in each hierarchy that systemd uses; other hierarchies are left alone."""
        mounts = [mount for mount in _CGROUP_MOUNTS if (mount / "cgroup.procs").exists()]
        return [mount / self.unit for mount in mounts]

    def pids(self) -> list[int]:
        """All its processes, the supervising systemd-nspawn included, as this machine numbers them."""
        directories = [Path(found[0]) for group in self._cgroups() for found in os.walk(group)]
        return sorted({int(pid) for path in directories for pid in _read(path / "cgroup.procs").split()})

    def leader(self) -> int:
        """The container's PID 1, as this machine numbers it."""
        for pid in self.pids():
            status = _read(Path(f"/proc/{pid}/status"))
            if any(line.startswith("NSpid:") and line.endswith("\t1") for line in status.splitlines()):
                return pid
        raise MachineError(f"container {self.unit} has no PID 1; see {self.console_log}")

    def kill(self) -> None:
        """End every process at once and remove the cgroup."""
        deadline = time.monotonic() + _KILL_TIMEOUT_S
        while not self._has_gone():
            if time.monotonic() > deadline:
                raise MachineError(f"container {self.unit} does not end: processes {self.pids()}")
            for pid in self.pids():
                kill(pid)
            time.sleep(_POLL_S)
        self._remove_traces()

    def _has_gone(self) -> bool:
        """Remove its cgroups, which the kernel allows only when nothing is left in them."""
        return all(_remove_tree_of_groups(group) for group in self._cgroups())

    def _remove_traces(self) -> None:
        """What systemd-nspawn keeps for a machine of this name, and does not remove when it is killed."""
        propagated = _NSPAWN_RUN / "propagate" / self.unit
        if propagated.is_dir():
            propagated.rmdir()


def _remove_tree_of_groups(group: Path) -> bool:
    try:
        for directory, _, _ in os.walk(group, topdown=False):
            Path(directory).rmdir()
    except OSError:
        return False
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
