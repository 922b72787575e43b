"""Calls to the guest agent."""

from __future__ import annotations

import base64
import time
from typing import Any

from localai_deploy.sandbox.answers import died
from localai_deploy.sandbox.body import AgentRefused, AgentSilent, Result
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Vm
from localai_deploy.sandbox.tables.qemu import AGENT_READS
from localai_deploy.sandbox.vm_values import parse
from localai_deploy.sandbox.vms import is_running, load

_SILENCE_S = 3
_READ_LIMIT = 16 << 20


def _ask(call: Call, command: str, arguments: dict[str, Any] | None = None) -> Result:
    vm = load(call)
    if not _is_enabled(call, vm):
        raise died("No QEMU guest agent configured")
    if not is_running(vm):
        raise died(f"VM {vm.vmid} is not running")
    began = time.monotonic()
    try:
        if call.site.faults.hit(f"agent {vm.vmid} {command}", "agent-missing"):
            raise AgentSilent
        if command == "network-get-interfaces":
            return vm.body.interfaces()
        return vm.body.agent(command, arguments or {})
    except AgentSilent:
        call.site.pace.sleep(_SILENCE_S - (time.monotonic() - began))
        raise died("QEMU guest agent is not running") from None
    except AgentRefused as error:
        raise died(f"Agent error: {error}") from None


def _is_enabled(call: Call, vm: Vm) -> bool:
    if "agent" not in vm.config:
        return False
    return bool(parse("agent", vm.config["agent"], call.cluster.release)["enabled"])


def _read(command: str) -> Handler:
    return lambda call: {"result": _ask(call, command)}


def execute(call: Call) -> dict[str, Any]:
    """Answer POST /nodes/{node}/qemu/{vmid}/agent/exec."""
    command = call.values["command"]
    argv = command if isinstance(command, list) else [command]
    given = call.values.get("input-data")
    return {"pid": _ask(call, "exec", {"command": argv, "input-data": given})}


def exec_status(call: Call) -> dict[str, Any]:
    """Answer GET /nodes/{node}/qemu/{vmid}/agent/exec-status."""
    found: dict[str, Any] = _ask(call, "exec-status", {"pid": call.values["pid"]})
    return found


def file_read(call: Call) -> dict[str, Any]:
    """The file's text; content is Latin-1 of the bytes, as the server decodes it."""
    content: bytes = _ask(call, "file-read", {"file": call.values["file"]})
    start, limit = call.values.get("offset", 0), call.values.get("count", _READ_LIMIT)
    part = content[start : start + limit]
    text = part.decode("latin-1") if call.values.get("decode", 1) else base64.b64encode(part).decode()
    found: dict[str, Any] = {"content": text}
    return found | ({"truncated": 1} if start + limit < len(content) else {})


def file_write(call: Call) -> None:
    """Answer POST /nodes/{node}/qemu/{vmid}/agent/file-write."""
    content = call.values["content"]
    data = content.encode() if call.values.get("encode", 1) else base64.b64decode(content)
    _ask(call, "file-write", {"file": call.values["file"], "content": data})


def set_password(call: Call) -> dict[str, Any]:
    """Answer POST /nodes/{node}/qemu/{vmid}/agent/set-user-password."""
    values = {key: call.values.get(key) for key in ("username", "password", "crypted")}
    return {"result": _ask(call, "set-user-password", values)}


_AGENT = "/nodes/{node}/qemu/{vmid}/agent/"
HANDLERS: dict[str, Handler] = {
    **{f"GET {_AGENT}{command}": _read(command) for command in AGENT_READS},
    f"POST {_AGENT}ping": _read("ping"),
    f"POST {_AGENT}exec": execute,
    f"GET {_AGENT}exec-status": exec_status,
    f"GET {_AGENT}file-read": file_read,
    f"POST {_AGENT}file-write": file_write,
    f"POST {_AGENT}set-user-password": set_password,
}
