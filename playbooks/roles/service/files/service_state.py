#!/usr/bin/env python3
"""State of a service unit and its server. Standard library only; changes nothing.

``look``  prints {has_systemd, load_state, active_state, needs_reload, restarts, ready, stale: newer files}
``wait``  prints {state: loading|ready|dead, ...}; when dead, an error object with the journal's end, exit 3
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "MainPID",
    "NRestarts",
    "NeedDaemonReload",
    "ExecMainStartTimestampMonotonic",
)
JOURNAL_LINES = 15
LISTEN = "0A"


def unit_properties(unit: str) -> dict[str, str]:
    """Properties that systemd knows of the unit, also of one that is not there, or while it does not run."""
    if not has_systemd():
        return {"LoadState": "not-found", "ActiveState": "inactive"}
    text = _output("systemctl", "show", f"{unit}.service", f"--property={','.join(PROPERTIES)}")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def has_systemd() -> bool:
    """Whether the host was booted with systemd: WSL can be switched to do without."""
    return Path("/run/systemd/system").is_dir()


def look(unit: str, port: int, url: str, files: list[Path]) -> dict[str, Any]:
    """What the role decides by."""
    properties = unit_properties(unit)
    pid = int(properties.get("MainPID") or 0)
    started = _started(properties)
    stale = [str(path) for path in files if pid and changed_at(path) > started]
    return {
        "has_systemd": has_systemd(),
        "load_state": properties.get("LoadState", ""),
        "active_state": properties.get("ActiveState", ""),
        "needs_reload": properties.get("NeedDaemonReload") == "yes",
        "restarts": int(properties.get("NRestarts") or 0),
        "ready": bool(pid) and listens(pid, port) and answers(url),
        "stale": stale,
    }


def _started(properties: dict[str, str]) -> float:
    """Unix time at which the main process was started."""
    monotonic_us = int(properties.get("ExecMainStartTimestampMonotonic") or 0)
    return time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - monotonic_us / 1e6)


def changed_at(path: Path) -> float:
    """Unix time of the last change of a file, or of a directory and what lies directly in it; 0: absent."""
    inside = path.iterdir() if path.is_dir() else ()
    return max((one.lstat().st_ctime for one in (path, *inside) if one.exists()), default=0.0)


def wait(unit: str, port: int, url: str, restarts: int) -> dict[str, Any]:
    """How far the server is; dead when systemd had to restart it more than ``restarts`` times."""
    properties = unit_properties(unit)
    pid = int(properties.get("MainPID") or 0)
    starting = properties.get("ActiveState") == "activating" and properties.get("SubState") == "start"
    if not starting and (not pid or int(properties.get("NRestarts") or 0) > restarts):
        return died(unit, properties)
    ready = bool(pid) and listens(pid, port) and answers(url)
    return {"state": "ready" if ready else "loading"}


def died(unit: str, properties: dict[str, str]) -> dict[str, Any]:
    """The error object of a unit that does not stay up."""
    lines = _output(
        "journalctl", f"--unit={unit}.service", f"--lines={JOURNAL_LINES}", "--output=cat", "--no-pager"
    )
    return {
        "state": "dead",
        "error_id": "service-died",
        "what": f"the service {unit} does not stay up",
        "why": f"result: {properties.get('Result', '?')}; its last lines:\n{lines.strip()}",
        "hint": f"see: journalctl -u {unit}",
    }


def listens(pid: int, port: int) -> bool:
    """Whether the process itself holds a listening TCP socket on ``port``."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    descriptors = Path(f"/proc/{pid}/fd")
    try:
        return any(str(_target(path)) in sockets for path in descriptors.iterdir())
    except OSError:
        return False


def _listening_inodes(port: int) -> Iterator[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text(encoding="ascii").splitlines()[1:] if table.exists() else []
        for fields in map(str.split, lines):
            if fields[3] == LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port:
                yield fields[9]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def answers(url: str) -> bool:
    """Whether ``url`` answers 200; a proxy of the environment is not asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _output(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(description="State of a service unit and its server.")
    parser.add_argument("command", choices=("look", "wait"))
    parser.add_argument("--unit", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--restarts", type=int, default=0)
    parser.add_argument("files", nargs="*", type=Path)
    given = parser.parse_intermixed_args()
    if given.command == "look":
        answer = look(given.unit, given.port, given.url, given.files)
    else:
        answer = wait(given.unit, given.port, given.url, given.restarts)
    print(json.dumps(answer))
    return 3 if "error_id" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
