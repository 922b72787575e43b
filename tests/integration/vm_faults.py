"""Faults at one step of ``up`` or ``down``, each once: on the wire, on the node, in the controller."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from localai_deploy.proxmox.client import PveClient
from localai_deploy.sandbox.faults import Faults
from localai_deploy.sandbox.http_front import Front
from tests.integration.vm_place import Place

DOWN_S = 0.2
"""How long the API is away while the node starts again."""

Condition = Callable[[], bool]


@dataclass(frozen=True)
class Step:
    """A request that a run makes.

    :param request: ``METHOD /path`` as a pattern.
    :param task: the type of the task that it starts, if any.
    :param running: only once the VM runs, where the same request comes twice.
    """

    request: str
    task: str = ""
    running: bool = False

    @property
    def changes(self) -> bool:
        return not self.request.startswith("GET")


UP = {
    "download": Step(r"POST .*/download-url$", "download"),
    "pool": Step(r"POST /pools$"),
    "upload": Step(r"POST .*/upload$", "imgcopy"),
    "create": Step(r"POST /nodes/pve1/qemu$", "qmcreate"),
    "finish": Step(r"PUT .*/config$"),
    "resize": Step(r"PUT .*/resize$", "resize"),
    "start": Step(r"POST .*/status/start$", "qmstart"),
    "address": Step(r"GET .*/network-get-interfaces$"),
    "host key": Step(r"GET .*/file-read$"),
    "detach": Step(r"PUT .*/config$", running=True),
    "remove seed": Step(r"DELETE .*/content/", "imgdel"),
}
DOWN = {
    "shutdown": Step(r"POST .*/status/shutdown$", "qmshutdown"),
    "delete": Step(r"DELETE .*/qemu/\d+$", "qmdestroy"),
}


class Killed(BaseException):
    """The controller's process ends here."""


class Once(Faults):
    """One fault at the first request that fits; ``strikes`` may do more than answer."""

    def __init__(self, name: str, pattern: str, due: Condition, strikes: Condition = lambda: True) -> None:
        super().__init__()
        self._name, self._pattern, self._due, self._strikes = name, re.compile(pattern), due, strikes
        self._once = threading.Lock()
        self.done = False

    def hit(self, request: str, *names: str) -> str | None:
        if self._name not in names or not self._pattern.search(request) or not self._due():
            return super().hit(request, *names)
        with self._once:
            if self.done:
                return None
            self.done = True
        return self._name if self._strikes() else None


def arm(place: Place, fault: str, step: Step, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Let ``fault`` happen at ``step``; whether it did is what the answer tells."""

    def due() -> bool:
        return not step.running or any(vm.body.state() == "running" for vm in place.site.cluster.vms.values())

    if fault.startswith("killed"):
        return _arm_kill(fault, step, due, monkeypatch)
    if fault == "agent-missing":
        missing = Faults()
        silence = missing.add(fault, times=-1)
        place.site.faults = missing
        return lambda: silence.hits > 0
    if fault == "reboot":
        pattern = rf"GET .*:{step.task}:.*/status$" if step.task else step.request
        once = Once("reset-before", pattern, due, lambda: _reboot(place))
    else:
        about = {"task-lost": f"task {step.task} ", "storage-full": r"^(upload|import) "}
        once = Once(fault, about.get(fault, step.request), due)
    place.site.faults = once
    return lambda: once.done


def _arm_kill(fault: str, step: Step, due: Condition, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Before the request is sent, or once its answer has come."""
    call, killed = PveClient._call, threading.Event()

    def until_killed(self: PveClient, method: str, path: str, parameters: dict[str, Any]) -> Any:
        fits = re.search(step.request, f"{method.upper()} /{path}") is not None and due()
        if fits and fault == "killed before" and not killed.is_set():
            killed.set()
            raise Killed
        answer = call(self, method, path, parameters)
        if fits and fault == "killed after" and not killed.is_set():
            killed.set()
            raise Killed
        return answer

    monkeypatch.setattr(PveClient, "_call", until_killed)
    return killed.is_set


def _reboot(place: Place) -> bool:
    """Workers end, guests are off, no task is remembered, the API comes back after a while."""
    sandbox, site = place.sandbox, place.site
    front = sandbox._front
    assert front is not None
    for task in list(site.tasks.all.values()):
        task.stop_asked.set()
        task.ended.wait(2)
    site.tasks.all.clear()
    for vm in site.cluster.vms.values():
        vm.body.stop()
    threading.Thread(target=front.close_all, daemon=True).start()

    def come_back() -> None:
        time.sleep(DOWN_S)
        sandbox._front = Front(site, sandbox.address, sandbox.certificate)
        threading.Thread(target=sandbox._front.serve_forever, args=(0.05,), daemon=True).start()

    sandbox._front = None
    threading.Thread(target=come_back, daemon=True).start()
    return True


def await_api(place: Place) -> None:
    """Until the node answers again, and what it was still doing has ended; no more faults."""
    place.site.faults.clear()
    deadline = time.monotonic() + 10
    while place.sandbox._front is None and time.monotonic() < deadline:
        time.sleep(0.01)
    for task in list(place.site.tasks.all.values()):
        task.ended.wait(10)
