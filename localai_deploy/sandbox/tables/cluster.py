"""Calls below /cluster, /nodes and /storage that are not about one VM."""

from __future__ import annotations

from localai_deploy.sandbox.endpoint import Endpoint
from localai_deploy.sandbox.parameter import Param, Table, flag, integer, properties, required, text
from localai_deploy.sandbox.privileges import Check, Either, Every, LoggedIn, On, Since, any_on, on

NODE = required(text("node", "pve-node"))
STORE = required(text("storage", "pve-storage-id"))
VMID = required(integer("vmid", 100, 999999999, format="pve-vmid"))
ANY_VMID = integer("vmid", 100, 999999999, format="pve-vmid")
UPID = required(text("upid"))
_PCI_PATH = r"[a-f0-9]{4,}:[a-f0-9]{2}:[a-f0-9]{2}(?:.[a-f0-9])?"
_PCI_IDS = r"[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}"
MAP_ENTRY = properties(
    "map",
    required(text("id", pattern=_PCI_IDS)),
    integer("iommugroup"),
    required(text("node", "pve-node")),
    required(text("path", pattern=rf"(?:{_PCI_PATH};)*{_PCI_PATH}")),
    text("subsystem-id", pattern=_PCI_IDS),
)
MAP = Param("map", "array", items=MAP_ENTRY)
_MAPPING_ID = required(text("id", "pve-configid"))
_MAPPING: Table = (text("description", max_length=4096), flag("live-migration-capable"), flag("mdev"))
_CHECKSUM: Table = (
    text("checksum", requires="checksum-algorithm"),
    text("checksum-algorithm", enum="md5 sha1 sha224 sha256 sha384 sha512", requires="checksum"),
)
_UPLOADED: Table = (
    required(text("content", "pve-storage-content", enum="iso vztmpl import", since=8)),
    required(text("content", "pve-storage-content", enum="iso vztmpl", until=7)),
)
_FILE = required(text("filename", max_length=255))
_STORE_AUDIT = any_on("/storage/{storage}", "Datastore.Audit", "Datastore.AllocateSpace")
_TEMPLATES = on("/storage/{storage}", "Datastore.AllocateTemplate")
_NODE_RIGHTS = On("/", ("Sys.Audit", "Sys.Modify"))
_NETWORK = Since(8, _NODE_RIGHTS, Either((_NODE_RIGHTS, on("/nodes/{node}", "Sys.AccessNetwork"))))
_MAPPINGS = on("/mapping/pci", "Mapping.Modify")
_URL = required(text("url", pattern="https?://.*"))
_STORAGE_OPTIONS: Table = (
    text("content", "pve-storage-content-list"),
    flag("disable"),
    text("is_mountpoint"),
    flag("mkdir"),
    text("nodes", "pve-node-list"),
    text("path", "pve-storage-path"),
    text("prune-backups", "prune-backups"),
    flag("shared"),
)
_STORAGE_TYPES = "btrfs cephfs cifs dir esxi iscsi iscsidirect lvm lvmthin nfs pbs rbd zfs zfspool"
_MAPPING_USE: Check = Either(
    tuple(on("/mapping/pci/{id}", f"Mapping.{right}") for right in ("Use", "Modify", "Audit"))
)
_NETWORKS = (
    "bridge bond eth alias vlan fabric OVSBridge OVSBond OVSPort OVSIntPort vnet any_bridge "
    "any_local_bridge include_sdn"
)
_NETWORKS_8 = _NETWORKS.replace(" fabric", "").replace(" include_sdn", "")

CLUSTER = (
    Endpoint("GET", "/cluster/mapping/pci", LoggedIn(), (text("check-node", "pve-node"),), since=8),
    Endpoint(
        "POST",
        "/cluster/mapping/pci",
        _MAPPINGS,
        (_MAPPING_ID, *_MAPPING, Param("map", "array", optional=False, items=MAP_ENTRY)),
        since=8,
    ),
    Endpoint("GET", "/cluster/mapping/pci/{id}", _MAPPING_USE, (_MAPPING_ID,), since=8),
    Endpoint(
        "PUT",
        "/cluster/mapping/pci/{id}",
        on("/mapping/pci/{id}", "Mapping.Modify"),
        (
            _MAPPING_ID,
            *_MAPPING,
            MAP,
            text("delete", "pve-configid-list", max_length=4096),
            text("digest", max_length=64),
        ),
        since=8,
    ),
    Endpoint("DELETE", "/cluster/mapping/pci/{id}", _MAPPINGS, (_MAPPING_ID,), since=8),
    Endpoint("GET", "/cluster/nextid", LoggedIn(), (ANY_VMID,)),
    Endpoint("GET", "/cluster/resources", LoggedIn(), (text("type", enum="vm storage node sdn"),)),
    Endpoint("GET", "/cluster/status", on("/", "Sys.Audit")),
    Endpoint("GET", "/cluster/tasks", LoggedIn()),
)
NODES = (
    Endpoint("GET", "/nodes", LoggedIn()),
    Endpoint("GET", "/nodes/{node}/status", on("/nodes/{node}", "Sys.Audit"), (NODE,), proxied=True),
    Endpoint("GET", "/nodes/{node}/version", LoggedIn(), (NODE,), proxied=True),
    Endpoint(
        "GET",
        "/nodes/{node}/hardware/pci",
        any_on("/", "Sys.Audit", "Sys.Modify"),
        (NODE, text("pci-class-blacklist", "string-list"), flag("verbose")),
        proxied=True,
    ),
    Endpoint(
        "GET",
        "/nodes/{node}/network",
        LoggedIn(),
        (NODE, text("type", enum=_NETWORKS, since=9), text("type", enum=_NETWORKS_8, until=8)),
        proxied=True,
    ),
    Endpoint(
        "GET",
        "/nodes/{node}/query-url-metadata",
        _NETWORK,
        (NODE, _URL, flag("verify-certificates")),
        proxied=True,
    ),
    Endpoint(
        "GET",
        "/nodes/{node}/tasks",
        LoggedIn(),
        (
            NODE,
            flag("errors"),
            integer("limit", 0),
            integer("since"),
            text("source", enum="archive active all"),
            integer("start", 0),
            text("statusfilter", "pve-task-status-type-list"),
            text("typefilter"),
            integer("until"),
            text("userfilter"),
            ANY_VMID,
        ),
        proxied=True,
    ),
    Endpoint("GET", "/nodes/{node}/tasks/{upid}/status", LoggedIn(), (NODE, UPID), proxied=True),
    Endpoint(
        "GET",
        "/nodes/{node}/tasks/{upid}/log",
        LoggedIn(),
        (NODE, UPID, flag("download"), integer("limit", 0), integer("start", 0)),
        proxied=True,
    ),
    Endpoint("DELETE", "/nodes/{node}/tasks/{upid}", LoggedIn(), (NODE, UPID), proxied=True),
)
STORAGE = (
    Endpoint(
        "GET",
        "/storage",
        LoggedIn(),
        (
            text("type", enum=_STORAGE_TYPES, since=9),
            text("type", enum=_STORAGE_TYPES.replace(" iscsi ", " glusterfs iscsi "), until=8),
        ),
    ),
    Endpoint(
        "POST",
        "/storage",
        on("/storage", "Datastore.Allocate"),
        (
            STORE,
            required(text("type", enum=_STORAGE_TYPES, since=9)),
            required(text("type", enum=_STORAGE_TYPES.replace(" iscsi ", " glusterfs iscsi "), until=8)),
            *_STORAGE_OPTIONS,
        ),
    ),
    Endpoint("GET", "/storage/{storage}", on("/storage/{storage}", "Datastore.Allocate"), (STORE,)),
    Endpoint(
        "PUT",
        "/storage/{storage}",
        on("/storage", "Datastore.Allocate"),
        (
            STORE,
            text("delete", "pve-configid-list", max_length=4096),
            text("digest", max_length=64),
            *(row for row in _STORAGE_OPTIONS if row.name != "path"),
        ),
    ),
    Endpoint("DELETE", "/storage/{storage}", on("/storage", "Datastore.Allocate"), (STORE,)),
    Endpoint(
        "GET",
        "/nodes/{node}/storage",
        LoggedIn(),
        (
            NODE,
            text("content", "pve-storage-content-list"),
            flag("enabled"),
            flag("format"),
            text("storage", "pve-storage-id"),
            text("target", "pve-node"),
        ),
        proxied=True,
    ),
    Endpoint("GET", "/nodes/{node}/storage/{storage}/status", _STORE_AUDIT, (NODE, STORE), proxied=True),
    Endpoint(
        "GET",
        "/nodes/{node}/storage/{storage}/content",
        _STORE_AUDIT,
        (NODE, STORE, text("content", "pve-storage-content"), ANY_VMID),
        proxied=True,
    ),
    Endpoint(
        "GET",
        "/nodes/{node}/storage/{storage}/content/{volume}",
        LoggedIn(),
        (NODE, text("storage", "pve-storage-id"), required(text("volume"))),
        proxied=True,
    ),
    Endpoint(
        "DELETE",
        "/nodes/{node}/storage/{storage}/content/{volume}",
        LoggedIn(),
        (NODE, integer("delay", 1, 30), text("storage", "pve-storage-id"), required(text("volume"))),
        proxied=True,
    ),
    Endpoint(
        "POST",
        "/nodes/{node}/storage/{storage}/download-url",
        Every((_TEMPLATES, _NETWORK)),
        (
            NODE,
            STORE,
            *_CHECKSUM,
            text("compression", since=8),
            *_UPLOADED,
            _FILE,
            _URL,
            flag("verify-certificates"),
        ),
        proxied=True,
    ),
    Endpoint(
        "POST",
        "/nodes/{node}/storage/{storage}/upload",
        _TEMPLATES,
        (
            NODE,
            STORE,
            *_CHECKSUM,
            *_UPLOADED,
            _FILE,
            text("tmpfilename", pattern="/var/tmp/pveupload-[0-9a-f]+"),  # noqa: S108
        ),
    ),
)
ENDPOINTS = (*CLUSTER, *NODES, *STORAGE)
