"""The product's command as a user runs it: a process of its own, a home of its own, no terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

DEADLINE_S = 600.0
"""No command takes longer, also on a machine that has much else to do."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended; its output as text."""

    code: int
    stdout: str
    stderr: str

    @property
    def data(self) -> Any:
        """What ``-o json`` printed."""
        return json.loads(self.stdout)

    @property
    def error_ids(self) -> list[str]:
        """Ids of all that stood in the way, as ``-o json`` tells: of the command, or host by host."""
        if "error" in self.data:
            return [self.data["error"]["id"]]
        return [error["id"] for host in self.data["hosts"] for error in _errors_of(host)]


def _errors_of(host: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*host.get("blockers", []), *([host["error"]] if "error" in host else [])]


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with an empty home; ``environment`` adds to what they have.

    :param deadline_s: no command of theirs takes longer.
    """

    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    deadline_s: float = DEADLINE_S

    @property
    def state(self) -> Path:
        """Where the product keeps journal and run logs."""
        return self.home / ".local" / "state" / "localai-deploy"

    @property
    def known_hosts(self) -> Path:
        """The product's own file of host keys."""
        return self.home / ".config" / "localai-deploy" / "known_hosts"

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Start ``localai-deploy WORDS``; its standard input is empty and no terminal is there."""
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("localai-deploy")), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**self._environment(), **environment},
        )

    def run(self, *words: str, **environment: str) -> Ended:
        """Run ``localai-deploy WORDS`` to its end, which a hang does not reach."""
        return await_end(self.start(*words, **environment), self.deadline_s)

    def refused(self, code: int, error_id: str, *words: str, **environment: str) -> Ended:
        """Run a command that must be refused, and look how a program and how a person is told.

        :returns: what the person saw: of a plan with blockers the same that a program's run shows.
        """
        told = self.run(*words, "-o", "json", **environment)
        assert error_id in told.error_ids, told
        seen = told if f"[{error_id}]" in told.stderr else self.run(*words, **environment)
        assert f"[{error_id}]" in seen.stderr, seen
        assert (seen.code, told.code) == (code, code), (seen, told)
        assert "Traceback" not in seen.stderr + seen.stdout + told.stderr + told.stdout
        return seen

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), "/usr/sbin:/usr/bin:/sbin:/bin")),
            **{name: os.environ[name] for name in ("PYTHONPATH", "LOGNAME", "USER") if name in os.environ},
            **self.environment,
        }


def await_end(process: subprocess.Popen[str], deadline_s: float = DEADLINE_S) -> Ended:
    """How a command that was started ends; one that hangs is killed."""
    try:
        stdout, stderr = process.communicate(timeout=deadline_s)
    finally:
        process.kill()
    return Ended(process.returncode, stdout, stderr)


def write_inventory(directory: Path, hosts: Mapping[str, Mapping[str, Any]]) -> Path:
    """An inventory of these hosts, in the group that the product looks for."""
    directory.mkdir(parents=True, exist_ok=True)
    data = {"inference": {"hosts": {name: dict(variables) for name, variables in hosts.items()}}}
    (directory / "hosts.yml").write_text(yaml.safe_dump(data, sort_keys=False))
    return directory
