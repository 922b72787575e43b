"""A machine of any kind that ssh reaches by a name, and what the product itself proves of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import testinfra
import yaml
from testinfra.host import Host

REPOSITORY = Path(__file__).parents[2]
_TIMEOUT_S = 1800


def vagrant_ssh_config(name: str) -> str:
    """How ssh reaches the box that this folder's Vagrantfile calls ``name``."""
    return _run("vagrant", "ssh-config", name)


@dataclass(frozen=True)
class Box:
    """One machine.

    :param ssh_config: the file of ssh's settings in which its name stands.
    :param folder: an empty one of its own.
    """

    name: str
    ssh_config: Path
    folder: Path

    @cached_property
    def machine(self) -> Host:
        """The machine for testinfra, as root by sudo."""
        return testinfra.get_host(f"ssh://{self.name}?ssh_config={self.ssh_config}&sudo=true")

    def verify(self) -> dict[str, Any]:
        """What ``localai-deploy verify`` says of it, held against the machine's own record.

        Its host key is the one that the machine itself tells over ssh as it is configured: that
        connection is trusted as far as whoever wrote the settings trusts it.
        """
        key = self._ssh("cat /etc/ssh/ssh_host_ed25519_key.pub")
        fingerprint = _run("ssh-keygen", "-lf", "-", text=key).split()[1]
        settings = {
            "ansible_host": self.name,
            "ansible_ssh_common_args": f"-F '{self.ssh_config}'",
            "localai_host_key": fingerprint,
        }
        inventory = self.folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"inference": {"hosts": {self.name: settings}}}))
        command = [str(Path(sys.executable).with_name("localai-deploy")), "verify", "-i", str(inventory)]
        done = subprocess.run(
            [*command, "-o", "json", self.name],
            env={**os.environ, "XDG_CONFIG_HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def _ssh(self, command: str) -> str:
        return _run("ssh", "-F", str(self.ssh_config), "-o", "LogLevel=ERROR", self.name, command)


def _run(*argv: str, text: str = "") -> str:
    done = subprocess.run(
        argv, cwd=REPOSITORY, input=text, capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
    return done.stdout
