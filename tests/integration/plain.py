"""Somebody without our command: ``playbooks/site.yml`` by plain Ansible."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.lab.host import LabHost

SITE = Path(__file__).parents[2] / "playbooks" / "site.yml"
PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))

Recap = dict[str, dict[str, int]]
"""Ansible's counts (``ok``, ``changed``, ``failed``, …) by host."""


def play_site(home: Path, inventories: Sequence[Path], *words: str) -> tuple[Recap, str]:
    """Run the playbook; the recap's counts by host, and all that was printed."""
    done = subprocess.run(
        [PLAYBOOK, *(word for path in inventories for word in ("-i", str(path))), str(SITE), *words],
        cwd="/",
        env={"HOME": str(home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    printed = done.stdout + done.stderr
    lines = re.findall(r"^(\w+)\s+: (ok=.*)$", done.stdout.rpartition("PLAY RECAP")[2], re.MULTILINE)
    recap = {host: {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", text)} for host, text in lines}
    assert recap, printed
    return recap, printed


def known_host_args(host: LabHost) -> str:
    """``ansible_ssh_common_args`` by which Ansible trusts the host's key and no other."""
    return f"-o UserKnownHostsFile={host.known_hosts} -o StrictHostKeyChecking=yes -F none"
