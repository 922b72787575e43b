"""Power: start, stop, shutdown, reset, reboot, suspend, resume."""

from __future__ import annotations

import time

from localai_deploy.sandbox.answers import died
from localai_deploy.sandbox.api.vm_start import start_vm
from localai_deploy.sandbox.pending import apply_pending
from localai_deploy.sandbox.site import Call, Handler
from localai_deploy.sandbox.state import Vm
from localai_deploy.sandbox.tasks import Task, TaskFailed
from localai_deploy.sandbox.vm_rights import check_skiplock
from localai_deploy.sandbox.vms import check_lock, find, is_running, load, need_running

_SHUTDOWN_S = 60


def start(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/status/start."""
    check_skiplock(call.who, call.values)
    return call.task("qmstart", call.values["vmid"], lambda task: start_vm(call, load(call), task))


def stop(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/status/stop."""
    check_skiplock(call.who, call.values)
    return call.task("qmstop", call.values["vmid"], lambda task: _off(call, find(call)))  # noqa: ARG005


def _off(call: Call, vm: Vm) -> None:
    with vm.lock:
        vm.body.stop()
        vm.devices = []
        apply_pending(call.site, vm)


def shutdown(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/status/shutdown."""
    check_skiplock(call.who, call.values)
    paused = call.cluster.vms.get(call.values["vmid"])
    if paused is not None and paused.body.state() == "paused" and not call.values.get("forceStop"):
        raise died("VM is paused - cannot shutdown")

    def work(task: Task) -> None:
        vm = find(call)
        with vm.lock:
            if not call.values.get("skiplock"):
                check_lock(vm)
            _power_down(call, vm, task)

    return call.task("qmshutdown", call.values["vmid"], work)


def _power_down(call: Call, vm: Vm, task: Task) -> None:
    if not is_running(vm):
        return None
    if vm.body.state() == "paused":
        task.say("VM is paused - stop instead of shutdown")
        return _off(call, vm)
    timeout_s = call.values.get("timeout", _SHUTDOWN_S)
    began = time.monotonic()
    if not vm.body.shutdown(timeout_s):
        task.wait(timeout_s * call.site.pace.scale - (time.monotonic() - began))
        if not call.values.get("forceStop"):
            raise TaskFailed("VM quit/powerdown failed - got timeout")
        task.say("VM still running - terminating now with SIGTERM")
    return _off(call, vm)


def reboot(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/status/reboot."""
    need_running(find(call))

    def work(task: Task) -> None:
        vm = find(call)
        with vm.lock:
            check_lock(vm)
            _power_down(call, vm, task)
            start_vm(call, vm, task)

    return call.task("qmreboot", call.values["vmid"], work)


def reset(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/status/reset."""
    check_skiplock(call.who, call.values)
    need_running(find(call))

    def work(task: Task) -> None:  # noqa: ARG001
        vm = find(call)
        with vm.lock:
            if not call.values.get("skiplock"):
                check_lock(vm)
            vm.body.reset()

    return call.task("qmreset", call.values["vmid"], work)


def suspend(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/status/suspend."""
    check_skiplock(call.who, call.values)
    if call.values.get("todisk"):
        raise died("the sandbox does not suspend to disk")
    vm = find(call)
    need_running(vm)
    return call.task("qmpause", vm.vmid, lambda task: vm.body.pause())  # noqa: ARG005


def resume(call: Call) -> str:
    """Answer POST /nodes/{node}/qemu/{vmid}/status/resume."""
    check_skiplock(call.who, call.values)
    vm = find(call)
    need_running(vm)
    return call.task("qmresume", vm.vmid, lambda task: vm.body.resume())  # noqa: ARG005


_STATUS = "POST /nodes/{node}/qemu/{vmid}/status/"
HANDLERS: dict[str, Handler] = {
    f"{_STATUS}start": start,
    f"{_STATUS}stop": stop,
    f"{_STATUS}shutdown": shutdown,
    f"{_STATUS}reboot": reboot,
    f"{_STATUS}reset": reset,
    f"{_STATUS}suspend": suspend,
    f"{_STATUS}resume": resume,
}
