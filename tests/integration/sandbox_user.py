"""Somebody with a sandbox of their own: the command as they run it, and what its process is doing."""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.sandbox_record import DIRECTORY_VARIABLE, sandbox_connection
from tests.integration.product import Ended, User

DEADLINE_S = 60.0


class Sandboxed(User):
    """Somebody with a runtime directory of their own."""

    @property
    def runtime(self) -> Path:
        return Path(self.environment[DIRECTORY_VARIABLE])

    @property
    def data(self) -> list[Path]:
        """What lies in the state directory."""
        return list(self.state.glob("*"))

    def sandbox(self, *words: str) -> Ended:
        """``sandbox WORDS -o json``; its document is what its schema says."""
        ended = self.run("sandbox", *words, "-o", "json")
        _, name, _ = ended.data["schema"].split("/")
        Draft202012Validator(load_schema(name)).validate(ended.data)
        return ended

    def started(self, *words: str) -> dict[str, Any]:
        ended = self.sandbox("start", *(words or ("--body", "bare")))
        assert ended.code == 0, ended
        return dict(ended.data)

    def connection(self) -> NodeConnection:
        return sandbox_connection(self.environment)

    def client(self) -> PveClient:
        return PveClient(self.connection())


def new_user(directory: Path) -> Sandboxed:
    home = directory / "home"
    home.mkdir(parents=True)
    return Sandboxed(home, {DIRECTORY_VARIABLE: str(directory / "run")})


def has_ended(pid: int) -> bool:
    """No thread of the process is left; an exit status that nobody has asked for may be."""
    states = []
    for status in Path(f"/proc/{pid}/task").glob("*/stat"):
        with contextlib.suppress(OSError):
            states.append(status.read_text().rpartition(")")[2].split()[0])
    return states in ([], ["Z"])


def wait_until_ended(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not has_ended(pid):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def fill(client: PveClient) -> None:
    """A VM with a disk, an upload, a pool, a role's grant, a mapping and a user's token."""

    def finish(upid: str) -> None:
        TaskWaiter(client).wait(upid, DEADLINE_S)

    file = io.BytesIO(b"seed")
    file.name = "seed.iso"
    finish(client.post("nodes/sandbox/storage/local/upload", content="iso", filename=file))
    client.post("pools", poolid="localai")
    client.post("cluster/mapping/pci", id="card", map=["node=sandbox,path=0000:01:00.0,id=10de:2684"])
    client.put("access/acl", path="/", roles="PVEAuditor", users="root@pam")
    made = client.post(
        "nodes/sandbox/qemu", vmid=100, name="one", memory=128, scsi0="local:1", pool="localai"
    )
    finish(made)
    finish(client.post("nodes/sandbox/qemu/100/status/start"))
