"""A probe with its request as one shell command: the host needs only coreutils, ``gzip`` and ``python3``."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localai_deploy.verifier.probes.bootstrap import PACKAGE

_FOLDER = Path(__file__).with_name("probes")
_BOOTSTRAP = "bootstrap"
_COMMAND = (
    'export LC_ALL=C; as_root=$([ "$(id -u)" = 0 ] || echo "sudo -n"); '
    "printf %s {text} | base64 -d | gzip -d | $as_root python3 -I -B -"
)


def remote_command(probe: str, request: Mapping[str, Any]) -> str:
    """The command that prints the evidence; root is taken by ``sudo`` where the login has none.

    The program goes in by standard input, so neither ``sudo`` nor the process list shows it.
    """
    packed = gzip.compress(program_text(probe, request).encode(), mtime=0)
    return f"sh -c '{_COMMAND.format(text=base64.b64encode(packed).decode())}'"


def program_text(probe: str, request: Mapping[str, Any]) -> str:
    """Python source: the bootstrap, and a call of it with all other probes as texts."""
    texts = {
        f"{PACKAGE}.{path.stem}": path.read_text(encoding="utf-8")
        for path in sorted(_FOLDER.glob("*.py"))
        if path.stem not in {"__init__", _BOOTSTRAP}
    }
    bootstrap = (_FOLDER / f"{_BOOTSTRAP}.py").read_text(encoding="utf-8")
    arguments = json.dumps([texts, probe, dict(request)])
    return f"{bootstrap}\n\nrun(*json.loads({arguments!r}))\n"
