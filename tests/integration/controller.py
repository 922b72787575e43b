"""Somebody who deploys to one lab host with the real command, and what their runs leave on both machines."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localai_deploy.domain.marks import WORK_MARK
from localai_deploy.domain.plan import StepKind
from localai_deploy.targets.run_lock import LOCK_FILE
from tests.integration.product import Ended, User, write_inventory
from tests.lab.mirror_daemon import mirror_urls

if TYPE_CHECKING:
    from tests.lab.host import LabHost

NAME = "box"
"""The inventory's name of every host: what is recorded on hosts must not differ by it."""
MODEL = "smollm2-135m-instruct-q4_1.gguf"
REFERENCE = f"hf:HuggingFaceTB/SmolLM2-135M-Instruct-GGUF/{MODEL}"
MODEL_PATH = f"var/lib/localai-deploy/models/{MODEL}"
API_KEY = "/etc/localai-deploy/api-key"
TOKEN = "hf_planted-where-it-is-easily-found"
DEADLINE_S = 240.0
POLL_S = 0.01
_ANSWERS = {"up": ("--yes",), "down": ("--yes", "--purge")}


class Controller:
    """Somebody with a home, a runtime directory in memory and an inventory with one host."""

    def __init__(self, host: LabHost, directory: Path) -> None:
        self.host = host
        self.runtime = Path(tempfile.mkdtemp(prefix="k-", dir="/dev/shm"))
        home = directory / "home"
        home.mkdir(parents=True)
        self.user = User(home, {"XDG_RUNTIME_DIR": str(self.runtime), "HF_TOKEN": TOKEN})
        self.inventory = write_inventory(directory / "inventory", {NAME: host_variables(host)})
        self.runs = self.user.state / "runs"
        self.journal = self.user.state / "journal" / f"{NAME}.jsonl"

    def words(self, command: str) -> list[str]:
        """The command line of ``up``, ``down --purge``, ``status`` and the like, without questions."""
        return [command, "--inventory", str(self.inventory), NAME, *_ANSWERS.get(command, ())]

    def run(self, command: str) -> Ended:
        """Run a command to its end."""
        return self.user.run(*self.words(command))

    def run_json(self, command: str) -> Ended:
        """Run a command to its end; its result is on stdout."""
        return self.user.run(*self.words(command), "-o", "json")

    def entries(self) -> list[dict[str, Any]]:
        """The journal's whole lines."""
        text = self.journal.read_text() if self.journal.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def newest_run(self) -> Path:
        """The folder of the latest run."""
        return max(self.runs.iterdir(), key=lambda path: path.stat().st_ctime_ns)

    def events(self, step: StepKind) -> list[dict[str, Any]]:
        """Ansible's events of a step of the newest run so far, oldest first."""
        folder = self.newest_run() / "ansible" / step.value / "job_events"
        found = [event for path in folder.glob("*.json") if (event := _whole_json(path))]
        return sorted(found, key=lambda event: int(event["counter"]))

    def await_event(self, step: StepKind, wanted: Callable[[Mapping[str, Any]], bool], what: str) -> None:
        """Wait for one of Ansible's events in a step of the newest run."""
        folder = self.newest_run() / "ansible" / step.value / "job_events"
        seen: set[Path] = set()

        def has_come() -> bool:
            for path in {*folder.glob("*.json")} - seen:
                if event := _whole_json(path):
                    seen.add(path)
                    if wanted(event):
                        return True
            return False

        wait_for(has_come, what)

    def processes(self) -> dict[int, str]:
        """Processes of this machine that somebody's command started, by their home."""
        return {pid: command_line(pid) for pid in processes_with(f"HOME={self.user.home}")}

    def forget(self) -> None:
        """Begin anew: no journal, no logs."""
        shutil.rmtree(self.user.state, ignore_errors=True)

    def close(self) -> None:
        """End what is left and remove the runtime directory."""
        for pid in self.processes():
            end_process(pid)
        shutil.rmtree(self.runtime, ignore_errors=True)


def host_variables(host: LabHost) -> dict[str, Any]:
    """One host's inventory variables; the model and everything else comes from the lab's mirror."""
    return {
        "ansible_host": host.address,
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": str(host.private_key),
        "localai_host_key": host.fingerprint,
        "localai_models": [REFERENCE],
        "localai_context_length": 2048,
        "localai_mirrors": mirror_urls(host.lab),
    }


def _whole_json(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, ValueError):
        return None


def freeze(host: LabHost) -> list[int]:
    """Stop the server from answering; its processes."""
    return _signal_server(host, signal.SIGSTOP)


def thaw(host: LabHost) -> list[int]:
    """Inverse of :func:`freeze`."""
    return _signal_server(host, signal.SIGCONT)


def _signal_server(host: LabHost, number: signal.Signals) -> list[int]:
    servers = [
        pid for pid in host.container.pids() if command_line(pid).split(" ")[0].endswith("llama-server")
    ]
    for pid in servers:
        os.kill(pid, number)
    return servers


def lock_is_free(host: LabHost) -> bool:
    """Nobody holds the host."""
    script = f"[ -e {LOCK_FILE} ] || exec echo free; exec flock -n {LOCK_FILE} echo free"
    return "free" in host.root("sh", "-c", script, check=False)


def disk_files_with(controller: Controller, text: str) -> list[str]:
    """Files that hold ``text`` outside memory: in the controller's home, or on the host."""
    grep = ("grep", "--recursive", "--files-with-matches", "--fixed-strings", "--exclude=*.gguf*", text)
    here = subprocess.run([*grep, str(controller.user.home)], capture_output=True, text=True, check=False)
    places = ("/etc", "/home", "/root", "/tmp", "/var/lib/localai-deploy", "/var/tmp")
    return [*here.stdout.split(), *controller.host.root(*grep, *places, check=False).split()]


def at_work(host: LabHost) -> list[str]:
    """Command lines of tasks and pulls of ours on the host."""
    ours = set(processes_with(f"{WORK_MARK}=")) & set(host.container.pids())
    return [command_line(pid) for pid in ours]


def processes_with(variable: str) -> list[int]:
    """Processes of this machine with an environment variable that begins like this."""
    wanted = variable.encode()
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/environ")
        if any(word.startswith(wanted) for word in _bytes(path).split(b"\0"))
    ]


def command_line(pid: int) -> str:
    """Words of a process's command; empty when it is gone."""
    return _bytes(Path(f"/proc/{pid}/cmdline")).replace(b"\0", b" ").decode(errors="replace").strip()


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def end_process(pid: int) -> None:
    """Kill a process; fine when it is gone."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float = DEADLINE_S) -> float:
    """Wait until it holds; seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"{what} did not come within {timeout_s:.0f} s"
        time.sleep(POLL_S)
    return time.monotonic() - began
