"""Somebody who makes VMs on an embedded node with the real command."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from localai_deploy.sandbox_record import NODE
from tests.integration.controller import REFERENCE, command_line, end_process, processes_with
from tests.integration.product import DEADLINE_S, Ended, User

CORES = 2
_SETTINGS: Mapping[str, Any] = {
    "localai_models": [REFERENCE],
    "localai_context_length": 2048,
    "localai_cores": CORES,
    "localai_memory_mib": 1024,
    "localai_disk_gib": 8,
}
_CHANGING = frozenset({"up", "down"})


@dataclass(frozen=True, slots=True)
class VmUser(User):
    """Somebody with an empty home, a runtime directory in memory, and ``inventory``, whose VMs are alike."""

    @property
    def runtime(self) -> Path:
        return Path(self.environment["XDG_RUNTIME_DIR"])

    @property
    def inventory(self) -> Path:
        return self.home / "inventory"

    def words(self, command: str, *names: str) -> list[str]:
        """A command about VMs of the node by their names, without questions; more options may follow."""
        answer = ["--yes"] if command in _CHANGING else []
        return [command, "--inventory", str(self.inventory), "--node", NODE, *names, *answer]

    def vm(self, command: str, *names: str) -> Ended:
        """Run a command about VMs to its end."""
        return self.run(*self.words(command, *names))

    def told(self, command: str, *names: str) -> Any:
        """The document that a command prints; it is what its schema says."""
        return document(self.vm(command, *names, "-o", "json"))

    def entries(self, name: str) -> list[dict[str, Any]]:
        """Whole lines of a VM's journal."""
        journal = self.state / "journal" / f"{name}.jsonl"
        text = journal.read_text() if journal.exists() else ""
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def processes(self) -> dict[int, str]:
        """Processes of this machine that the commands started, by their home."""
        return {pid: command_line(pid) for pid in processes_with(f"HOME={self.home}")}

    def forget(self) -> None:
        """Begin anew: no journal, no logs, no host keys."""
        shutil.rmtree(self.state, ignore_errors=True)
        self.known_hosts.unlink(missing_ok=True)

    def close(self) -> None:
        """End what is left and remove the runtime directory."""
        for pid in self.processes():
            end_process(pid)
        shutil.rmtree(self.runtime, ignore_errors=True)


def new_vm_user(
    home: Path,
    node: Mapping[str, str],
    variables: Mapping[str, Any],
    key: Path | None = None,
    deadline_s: float = DEADLINE_S,
) -> VmUser:
    """Somebody new.

    :param node: environment in which the node is found.
    :param variables: of VMs: image, mirrors.
    :param key: private SSH key; without one a new one is made.
    :param deadline_s: no command of theirs takes longer.
    """
    home.mkdir(parents=True)
    if key is None:
        key = home / "id_ed25519"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    runtime = tempfile.mkdtemp(prefix="v-", dir="/dev/shm")
    user = VmUser(home, {**node, "XDG_RUNTIME_DIR": runtime}, deadline_s)
    groups = user.inventory / "group_vars"
    groups.mkdir(parents=True)
    settings = {**_SETTINGS, **variables, "localai_ssh_key": str(key)}
    (groups / "proxmox_vms.yml").write_text(yaml.safe_dump(settings, sort_keys=False))
    (user.inventory / "hosts.yml").write_text("proxmox_vms:\n")
    return user


def document(ended: Ended) -> Any:
    """What ``-o json`` printed, held against its schema."""
    assert ended.stdout, ended
    schema = load_schema(ended.data["schema"].split("/")[1])
    problems = [error.message for error in Draft202012Validator(schema).iter_errors(ended.data)]
    assert problems == [], ended.stdout
    return ended.data
