"""The host's state: records, unit, process, environment, sockets, key file; no question over the network."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from localai_deploy.verifier.probes import conda, process
from localai_deploy.verifier.probes.api_key import contains_key, key_file, read_keys, redact
from localai_deploy.verifier.probes.commands import COMMAND_TIMEOUT_S, run
from localai_deploy.verifier.probes.sockets import listeners

UNIT_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "UnitFileState",
    "NRestarts",
    "MainPID",
    "User",
    "DropInPaths",
    "InvocationID",
)
NOBODY = 65534
LOG_LINES = "buffer size =|offloaded [0-9]+/[0-9]+ layers"
"""What of the server's log is asked for; its start alone tells it."""
MOST_LOG_LINES = 500
_EXPOSURE = re.compile(r"exposure level for .*: ([0-9]+(?:\.[0-9]+)?)")


def gather(request: dict[str, Any]) -> dict[str, Any]:
    """Evidence for one deployment.

    :param request: ``unit``, ``port``, ``prefix``, ``executable`` (path), ``store`` (folder of the models),
        ``deployment_file``, ``api_key_file``.
    """
    keys = read_keys(request["api_key_file"])
    unit = read_unit(request["unit"])
    pid = int(unit.get("MainPID") or 0)
    mapped = process.mapped_files(pid)
    records = conda.read_records(request["prefix"])
    evidence = {
        "record": read_json(request["deployment_file"]),
        "unit": unit,
        "unit_has_key": contains_key(run("systemctl", "show", request["unit"])[1].encode(), keys),
        "process": process.read(pid, keys),
        "prefix": os.path.realpath(request["prefix"]),
        "packages": conda.packages(records),
        "files": conda.owners(request["prefix"], records, mapped),
        "mapped_models": [path for path in mapped if path.startswith(request["store"] + "/")],
        "model_records": read_model_records(request["store"]),
        "version": run_version(pid, request["executable"]),
        "listeners": listeners(request["port"], pid),
        "key_file": key_file(request["api_key_file"]),
        "server_log": read_log(unit.get("InvocationID", "")),
        "exposure": read_exposure(request["unit"]),
        "pci_devices": read_pci_devices("/sys/bus/pci/devices"),
    }
    redacted: dict[str, Any] = redact(evidence, keys)
    return redacted


def read_json(path: str) -> dict[str, Any]:
    """``{"value": …, "error": …}``; the error is empty when the file could be read."""
    try:
        return {"value": json.loads(Path(path).read_text(encoding="utf-8")), "error": ""}
    except FileNotFoundError:
        return {"value": None, "error": f"{path} is not there"}
    except (OSError, ValueError) as error:
        return {"value": None, "error": f"{path} cannot be read: {error}"}


def read_pci_devices(folder: str) -> list[str]:
    """Vendor and device (``10de:2684``) of each function, by address; none without a PCI bus."""
    found = []
    for device in sorted(Path(folder).glob("*")):
        ids = [(device / name).read_text(encoding="ascii").strip() for name in ("vendor", "device")]
        found.append(":".join(one[2:] if one.startswith("0x") else one for one in ids))
    return found


def read_model_records(store: str) -> dict[str, str]:
    """Model's file name → hash that its record beside it tells."""
    found = {}
    for path in sorted(Path(store).glob("*.json")):
        record = read_json(str(path))["value"]
        if isinstance(record, dict):
            found[path.stem] = str(record.get("sha256") or "")
    return found


def read_unit(unit: str) -> dict[str, str]:
    """Properties of the unit; empty without systemd."""
    _, text = run("systemctl", "show", unit, f"--property={','.join(UNIT_PROPERTIES)}")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def read_log(invocation: str) -> list[str]:
    """Lines about memory and layers that the unit's present run wrote; none without a journal."""
    if not invocation:
        return []
    asked = (f"_SYSTEMD_INVOCATION_ID={invocation}", "--output=cat", "--quiet", "--no-pager")
    _, text = run("journalctl", *asked, f"--grep={LOG_LINES}")
    return [line for line in text.splitlines() if re.search(LOG_LINES, line)][:MOST_LOG_LINES]


def read_exposure(unit: str) -> dict[str, Any]:
    """``{"tool": True, "level": 1.5, "error": ""}`` out of ``systemd-analyze security``.

    Without the tool ``tool`` is false; without a figure ``level`` is None and ``error`` says why.
    """
    if shutil.which("systemd-analyze") is None:
        return {"tool": False, "level": None, "error": "systemd-analyze is not installed"}
    returncode, text = run("systemd-analyze", "security", "--no-pager", unit)
    found = _EXPOSURE.search(text)
    if returncode != 0 or found is None:
        return {
            "tool": True,
            "level": None,
            "error": f"systemd-analyze ended with {returncode}: {_tail(text)}",
        }
    return {"tool": True, "level": float(found.group(1)), "error": ""}


def run_version(pid: int, executable: str) -> dict[str, Any]:
    """What the server program says to ``--version``, run as the service's user."""
    uid, gid = _service_ids(pid)
    try:
        done = subprocess.run(
            [executable, "--version"],
            user=uid,
            group=gid,
            extra_groups=[],
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return {"returncode": -1, "output": str(error)}
    return {"returncode": done.returncode, "output": done.stdout.decode("utf-8", "replace")[-4000:]}


def _service_ids(pid: int) -> tuple[int, int]:
    """Effective user and group of the service; nobody's when it does not run."""
    try:
        return process.read_ids(pid, "Uid")[1], process.read_ids(pid, "Gid")[1]
    except OSError:
        return NOBODY, NOBODY


def _tail(text: str) -> str:
    """The last line that says something."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no output"
