"""Runs roles on a lab host with plain ansible-playbook and tells what each task did."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.lab.host import LabHost

ROLES = Path(__file__).parents[2] / "playbooks" / "roles"
CALLBACKS = Path(__file__).parent / "callback"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a playbook; ``records`` has one entry per task result, see callback/record.py."""

    code: int
    seconds: float
    records: tuple[Mapping[str, Any], ...]
    output: str

    @property
    def changed(self) -> list[str]:
        """Tasks that changed the host (or would have, in check mode), in order."""
        return [
            f"{r['role']}: {r['task']}"
            for r in self.records
            if r["changed"] and r["status"] in ("ok", "failed")
        ]

    @property
    def failure(self) -> Mapping[str, Any]:
        """The result of the task that ended the run; empty when none did."""
        return next((r for r in self.records if r["status"] == "failed"), {})

    @property
    def problem(self) -> dict[str, str]:
        """The error object that our own program printed in the failed task."""
        return json.loads(self.failure.get("stdout", "{}"))

    @property
    def executed(self) -> int:
        """Tasks that were not skipped."""
        return sum(r["status"] in ("ok", "failed") for r in self.records)

    def retries(self, task: str) -> list[Mapping[str, Any]]:
        """Intermediate results of a waiting task."""
        return [r for r in self.records if r["status"] == "retry" and r["task"] == task]


@dataclass(frozen=True, slots=True)
class Driver:
    """ansible-playbook against one host; all it writes lies in ``directory``."""

    host: LabHost
    directory: Path
    roles: Path = ROLES
    timeout_s: float = 300

    @classmethod
    def prepare(cls, host: LabHost, directory: Path, timeout_s: float = 300) -> Driver:
        """A driver of the roles as they are now, whatever becomes of the checkout."""
        return cls(host, directory, shutil.copytree(ROLES, directory / "roles"), timeout_s)

    def converge(
        self, roles: Sequence[str], variables: Mapping[str, Any], *, check: bool = False, good: bool = True
    ) -> Run:
        """Run the roles' main tasks."""
        play = {"roles": [{"role": role} for role in roles]}
        return self._run(play, {self.host: variables}, ("--check", "--diff") if check else (), good=good)

    def converge_all(
        self,
        hosts: Sequence[LabHost],
        roles: Sequence[str],
        variables: Mapping[str, Mapping[str, Any]],
        *,
        check: bool = False,
        good: bool = True,
    ) -> Run:
        """The same for several hosts at once; ``variables`` are by the host's name."""
        play = {"roles": [{"role": role} for role in roles]}
        wanted = {host: variables[host.name] for host in hosts}
        return self._run(play, wanted, ("--check", "--diff") if check else (), good=good)

    def action(self, role: str, tasks: str, variables: Mapping[str, Any], *, good: bool = True) -> Run:
        """Run another entry point of a role."""
        task = {"name": f"{tasks} {role}", "ansible.builtin.import_role": {"name": role, "tasks_from": tasks}}
        return self._run({"tasks": [task]}, {self.host: variables}, (), good=good)

    def converge_one(
        self,
        host: LabHost,
        hosts: Sequence[LabHost],
        roles: Sequence[str],
        variables: Mapping[str, Mapping[str, Any]],
        *,
        check: bool = False,
        uninstall: bool = False,
    ) -> Run:
        """Run roles on one host of an inventory that knows more."""
        entry = {"tasks_from": "uninstall"} if uninstall else {}
        tasks = [
            {"name": f"Role {role}", "ansible.builtin.import_role": {"name": role} | entry} for role in roles
        ]
        wanted = {one: variables[one.name] for one in hosts}
        play = {"hosts": host.name, "tasks": tasks}
        return self._run(play, wanted, ("--check", "--diff") if check else (), good=True)

    def uninstall(self, roles: Sequence[str], variables: Mapping[str, Any], *, check: bool = False) -> Run:
        """Run the roles' uninstall tasks, last role first."""
        tasks = [
            {"name": f"Undo {r}", "ansible.builtin.import_role": {"name": r, "tasks_from": "uninstall"}}
            for r in reversed(roles)
        ]
        wanted = {self.host: variables}
        return self._run({"tasks": tasks}, wanted, ("--check", "--diff") if check else (), good=True)

    def _run(
        self,
        play: Mapping[str, Any],
        variables: Mapping[LabHost, Mapping[str, Any]],
        options: Sequence[str],
        *,
        good: bool,
    ) -> Run:
        head = {"name": "Roles", "hosts": "all", "become": True, "gather_facts": False}
        self._write("play.yml", [head | play])
        hosts = {host.name: _connection(host) | dict(wanted) for host, wanted in variables.items()}
        self._write("inventory.yml", {"all": {"hosts": hosts}})
        record = self.directory / "record.jsonl"
        record.write_text("")
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            *("-i", str(self.directory / "inventory.yml"), *options, str(self.directory / "play.yml")),
        ]
        started = time.monotonic()
        done = subprocess.run(
            command,
            env=self._environment(record),
            capture_output=True,
            text=True,
            timeout=self.timeout_s,
            check=False,
        )
        records = tuple(map(json.loads, record.read_text().splitlines()))
        run = Run(done.returncode, time.monotonic() - started, records, done.stdout + done.stderr)
        assert not good or run.code == 0, run.output
        return run

    def _write(self, name: str, data: object) -> None:
        (self.directory / name).write_text(yaml.safe_dump(data, sort_keys=False))

    def _environment(self, record: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "LANG": "C.UTF-8",
            "RECORD_FILE": str(record),
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACKS),
            "ANSIBLE_CALLBACKS_ENABLED": "record",
            "ANSIBLE_ROLES_PATH": str(self.roles),
            "ANSIBLE_PIPELINING": "True",
            "ANSIBLE_SSH_CONTROL_PATH_DIR": "/tmp/localai-roles-cp",
            "ANSIBLE_NOCOLOR": "1",
        }


def _connection(host: LabHost) -> dict[str, Any]:
    return {
        "ansible_host": host.address,
        "ansible_port": host.port,
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": str(host.private_key),
        "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={host.known_hosts}",
        "ansible_python_interpreter": "/usr/bin/python3",
    }
