"""Calls about VMs: list, create, configuration, power, snapshots, clones, guest agent."""

from __future__ import annotations

from localai_deploy.sandbox.endpoint import Endpoint
from localai_deploy.sandbox.parameter import Param, Table, flag, integer, properties, required, text
from localai_deploy.sandbox.privileges import Check, Either, Every, LoggedIn, On, Since, any_on, on
from localai_deploy.sandbox.tables.cluster import NODE, VMID
from localai_deploy.sandbox.tables.drives import DRIVE_NAMES
from localai_deploy.sandbox.tables.vm_options import MACHINE, VM_OPTIONS

VM = "/nodes/{node}/qemu/{vmid}"
BASE: Table = (NODE, VMID)
_AUDIT = on("/vms/{vmid}", "VM.Audit")
_POWER = on("/vms/{vmid}", "VM.PowerMgmt")
_SNAPSHOTS = on("/vms/{vmid}", "VM.Snapshot")
_SKIPLOCK = flag("skiplock")
_TIMEOUT = integer("timeout", 0)
_SNAPNAME = required(text("snapname", "pve-configid", max_length=40))
_SNAPSHOT_TEXT = text("description")
_CONFIG = any_on(
    "/vms/{vmid}",
    *(
        f"VM.Config.{part}"
        for part in ["Disk", "CDROM", "CPU", "Memory", "Network", "HWType", "Options", "Cloudinit"]
    ),
)
_CHANGE: Table = (
    *BASE,
    *VM_OPTIONS,
    text("delete", "pve-configid-list"),
    text("digest", max_length=40),
    flag("force", requires="delete"),
    text("revert", "pve-configid-list"),
    _SKIPLOCK,
)
_CREATE: Table = (
    *BASE,
    *VM_OPTIONS,
    text("archive", max_length=255),
    integer("bwlimit", 0),
    flag("force", requires="archive"),
    flag("ha-managed", since=9),
    text("import-working-storage", "pve-storage-id", since=8),
    flag("live-restore"),
    text("pool", "pve-poolid"),
    flag("start"),
    text("storage", "pve-storage-id"),
    flag("unique", requires="archive"),
)
_CONNTRACK = flag("with-conntrack-state", since=9)
_START: Table = (
    *BASE,
    text("force-cpu"),
    properties("machine", *MACHINE),
    text("migratedfrom", "pve-node"),
    text("migration_network", "CIDR"),
    text("migration_type", enum="secure insecure"),
    text("nets-host-mtu", pattern=r"net\d+=\d+(,net\d+=\d+)*", since=8),
    _SKIPLOCK,
    text("stateuri", max_length=128),
    text("targetstorage", "storage-pair-list"),
    _TIMEOUT,
    _CONNTRACK,
)


def _agent_right(*rights: str) -> Check:
    names = tuple(dict.fromkeys((*rights, "Unrestricted")))
    now = tuple(f"VM.GuestAgent.{name}" for name in names)
    return Since(9, on("/vms/{vmid}", "VM.Monitor"), On("/vms/{vmid}", now, any=len(now) > 1))


def _agent_get(command: str) -> Endpoint:
    return Endpoint("GET", f"{VM}/agent/{command}", _agent_right("Audit"), BASE, proxied=True)


AGENT_READS = (
    "get-fsinfo",
    "get-host-name",
    "get-memory-block-info",
    "get-memory-blocks",
    "get-osinfo",
    "get-time",
    "get-timezone",
    "get-users",
    "get-vcpus",
    "info",
    "network-get-interfaces",
)
AGENT = (
    *(_agent_get(command) for command in AGENT_READS),
    Endpoint("POST", f"{VM}/agent/ping", _agent_right("Audit"), BASE, proxied=True),
    Endpoint(
        "POST",
        f"{VM}/agent/exec",
        _agent_right(),
        (
            *BASE,
            Param("command", "array", optional=False, items=text("command"), since=8),
            required(text("command", "string-alist", until=7)),
            text("input-data", max_length=65536),
        ),
        proxied=True,
    ),
    Endpoint(
        "GET", f"{VM}/agent/exec-status", _agent_right(), (*BASE, required(integer("pid"))), proxied=True
    ),
    Endpoint(
        "GET",
        f"{VM}/agent/file-read",
        _agent_right("FileRead"),
        (
            *BASE,
            integer("count", 1, 16777216, since=9),
            flag("decode", since=9),
            required(text("file")),
            integer("offset", 0, since=9),
        ),
        proxied=True,
    ),
    Endpoint(
        "POST",
        f"{VM}/agent/file-write",
        _agent_right("FileWrite"),
        (*BASE, required(text("content", max_length=61440)), flag("encode"), required(text("file"))),
        proxied=True,
    ),
    Endpoint(
        "POST",
        f"{VM}/agent/set-user-password",
        _agent_right(),
        (*BASE, flag("crypted"), required(text("password", max_length=1024)), required(text("username"))),
        proxied=True,
    ),
)
POWER = (
    Endpoint("GET", f"{VM}/status/current", _AUDIT, BASE, proxied=True),
    Endpoint("POST", f"{VM}/status/start", _POWER, _START, proxied=True),
    Endpoint(
        "POST",
        f"{VM}/status/stop",
        _POWER,
        (
            *BASE,
            flag("keepActive"),
            text("migratedfrom", "pve-node"),
            flag("overrule-shutdown", since=8),
            _SKIPLOCK,
            _TIMEOUT,
        ),
        proxied=True,
    ),
    Endpoint(
        "POST",
        f"{VM}/status/shutdown",
        _POWER,
        (*BASE, flag("forceStop"), flag("keepActive"), _SKIPLOCK, _TIMEOUT),
        proxied=True,
    ),
    Endpoint("POST", f"{VM}/status/reset", _POWER, (*BASE, _SKIPLOCK), proxied=True),
    Endpoint("POST", f"{VM}/status/reboot", _POWER, (*BASE, _TIMEOUT), proxied=True),
    Endpoint(
        "POST",
        f"{VM}/status/suspend",
        _POWER,
        (*BASE, _SKIPLOCK, text("statestorage", "pve-storage-id", requires="todisk"), flag("todisk")),
        proxied=True,
    ),
    Endpoint("POST", f"{VM}/status/resume", _POWER, (*BASE, flag("nocheck"), _SKIPLOCK), proxied=True),
)
SNAPSHOTS = (
    Endpoint("GET", f"{VM}/snapshot", _AUDIT, BASE, proxied=True),
    Endpoint(
        "POST",
        f"{VM}/snapshot",
        _SNAPSHOTS,
        (*BASE, _SNAPSHOT_TEXT, _SNAPNAME, flag("vmstate")),
        proxied=True,
    ),
    Endpoint(
        "DELETE", f"{VM}/snapshot/{{snapname}}", _SNAPSHOTS, (*BASE, flag("force"), _SNAPNAME), proxied=True
    ),
    Endpoint(
        "POST",
        f"{VM}/snapshot/{{snapname}}/rollback",
        any_on("/vms/{vmid}", "VM.Snapshot", "VM.Snapshot.Rollback"),
        (*BASE, _SNAPNAME, flag("start")),
        proxied=True,
    ),
    Endpoint(
        "GET",
        f"{VM}/snapshot/{{snapname}}/config",
        any_on("/vms/{vmid}", "VM.Snapshot", "VM.Snapshot.Rollback", "VM.Audit"),
        (*BASE, _SNAPNAME),
        proxied=True,
    ),
)
CONFIG = (
    Endpoint("GET", "/nodes/{node}/lxc", LoggedIn(), (NODE,), proxied=True),
    Endpoint("GET", "/nodes/{node}/qemu", LoggedIn(), (NODE, flag("full")), proxied=True),
    Endpoint("POST", "/nodes/{node}/qemu", LoggedIn(), _CREATE, proxied=True),
    Endpoint(
        "DELETE",
        VM,
        on("/vms/{vmid}", "VM.Allocate"),
        (*BASE, flag("destroy-unreferenced-disks"), flag("purge"), _SKIPLOCK),
        proxied=True,
    ),
    Endpoint(
        "GET",
        f"{VM}/config",
        _AUDIT,
        (*BASE, flag("current"), text("snapshot", "pve-configid", max_length=40)),
        proxied=True,
    ),
    Endpoint("PUT", f"{VM}/config", _CONFIG, _CHANGE, proxied=True),
    Endpoint(
        "POST",
        f"{VM}/config",
        _CONFIG,
        (
            *_CHANGE,
            integer("background_delay", 1, 30),
            text("import-working-storage", "pve-storage-id", since=8),
        ),
        proxied=True,
    ),
    Endpoint("GET", f"{VM}/pending", _AUDIT, BASE, proxied=True),
    Endpoint(
        "PUT",
        f"{VM}/resize",
        on("/vms/{vmid}", "VM.Config.Disk"),
        (
            *BASE,
            text("digest", max_length=40),
            required(text("disk", enum=DRIVE_NAMES)),
            required(text("size", pattern=r"\+?\d+(\.\d+)?[KMGT]?")),
            _SKIPLOCK,
        ),
        proxied=True,
    ),
    Endpoint(
        "GET",
        f"{VM}/cloudinit/dump",
        _AUDIT,
        (*BASE, required(text("type", enum="user network meta"))),
        proxied=True,
    ),
    Endpoint(
        "POST",
        f"{VM}/template",
        on("/vms/{vmid}", "VM.Allocate"),
        (*BASE, text("disk", enum=DRIVE_NAMES)),
        proxied=True,
    ),
    Endpoint(
        "POST",
        f"{VM}/clone",
        Every(
            (
                on("/vms/{vmid}", "VM.Clone"),
                Either(
                    (on("/vms/{newid}", "VM.Allocate"), On("/pool/{pool}", ("VM.Allocate",), if_param="pool"))
                ),
            )
        ),
        (
            *BASE,
            integer("bwlimit", 0),
            text("format", enum="raw qcow2 vmdk"),
            flag("full"),
            text("name", "dns-name"),
            required(integer("newid", 100, 999999999, format="pve-vmid")),
            text("pool", "pve-poolid"),
            text("snapname", "pve-configid", max_length=40),
            text("storage", "pve-storage-id"),
            text("target", "pve-node"),
            _SNAPSHOT_TEXT,
        ),
        proxied=True,
    ),
)
ENDPOINTS = (*CONFIG, *POWER, *SNAPSHOTS, *AGENT)
