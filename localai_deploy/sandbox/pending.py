"""Changes of a VM's configuration: what applies at once, what waits for a stop."""

from __future__ import annotations

import re

from localai_deploy.sandbox.answers import bad_parameters
from localai_deploy.sandbox.site import Site
from localai_deploy.sandbox.state import Vm
from localai_deploy.sandbox.vm_disks import put_aside
from localai_deploy.sandbox.vm_values import is_cdrom, is_drive, parse

_AT_ONCE = """
description hookscript lock migrate_downtime migrate_speed name onboot protection shares startup tags
vmstatestorage
"""
AT_ONCE = frozenset(_AT_ONCE.split())


def clean_pending(vm: Vm) -> None:
    """Drop pending changes that change nothing."""
    vm.pending = {key: value for key, value in vm.pending.items() if vm.config.get(key) != value}
    vm.pending_delete = [key for key in vm.pending_delete if key in vm.config]


def apply_pending(site: Site, vm: Vm) -> None:
    """Let all pending changes take effect, as a stopped VM does."""
    for name in list(vm.pending_delete):
        _delete(site, vm, name)
    for name in list(vm.pending):
        _set(site, vm, name)
    vm.pending_delete = []


def _delete(site: Site, vm: Vm, name: str) -> None:
    value = vm.config.pop(name, None)
    vm.pending_delete = [other for other in vm.pending_delete if other != name]
    if value is not None and is_drive(name):
        put_aside(site, vm.vmid, vm.config, value)


def _set(site: Site, vm: Vm, name: str) -> None:
    old, new = vm.config.get(name), vm.pending.pop(name)
    if name in {"description", "name"} and new == "":
        vm.config.pop(name, None)
        return
    vm.config[name] = new
    if is_drive(name) and old is not None and old.split(",")[0] != str(new).split(",")[0]:
        put_aside(site, vm.vmid, vm.config, old)


def hotplug(site: Site, vm: Vm) -> None:
    """Apply what a running VM takes; raises the 400 that names the devices it does not let go."""
    errors: dict[str, str] = {}
    for name in list(vm.pending_delete):
        if name in AT_ONCE:
            _delete(site, vm, name)
        elif _is_pluggable(name):
            if vm.body.unplug(name):
                _delete(site, vm, name)
            else:
                errors[name] = _busy(site, name)
    for name in list(vm.pending):
        if name in AT_ONCE or _plugs_in(site, vm, name):
            _set(site, vm, name)
    if errors:
        raise bad_parameters(errors)


def _is_pluggable(name: str) -> bool:
    return bool(re.fullmatch(r"(net|scsi|virtio|usb)\d+", name))


def _plugs_in(site: Site, vm: Vm, name: str) -> bool:
    if not _is_pluggable(name):
        return False
    old = vm.config.get(name)
    return old is None or (is_drive(name) and is_cdrom(parse(name, old, site.cluster.release)))


def _busy(site: Site, name: str) -> str:
    suffix = " - still busy in guest?" if site.cluster.release.major > 8 else ""
    return f"hotplug problem - error on hot-unplugging device '{name}'{suffix}\n"
