"""Recorded conversations set up in a sandbox and sent again over HTTPS."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from localai_deploy.sandbox.body import BareBody
from localai_deploy.sandbox.fetching import Fetched, Refused, Unreachable
from localai_deploy.sandbox.release import RELEASES, builtin_roles
from localai_deploy.sandbox.server import Sandbox, make_site
from localai_deploy.sandbox.site import Pace, Site
from localai_deploy.sandbox.state import (
    AclEntry,
    Cluster,
    Mapping,
    Node,
    Pool,
    Storage,
    Token,
    User,
    Vm,
    Volume,
)

TRANSCRIPTS = Path(__file__).parents[4] / "shared" / "data" / "pve-transcripts"
TOKENS = {
    "root-token": "root@pam!lab",
    "root-sep-token": "root@pam!sep",
    "tool-token": "tool@pve!prov",
    "noacl-token": "noacl@pve!none",
}
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class Answer:
    status: int
    reason: str
    body: Any


@dataclass
class Client:
    """Sends steps with the credentials that a transcript names."""

    sandbox: Sandbox
    root_password: str
    new_token: str = ""
    answers: dict[int, Answer] = field(default_factory=dict)

    def __post_init__(self) -> None:
        context = ssl.create_default_context(cadata=self.sandbox.certificate.certificate_pem)
        host, port = self.sandbox.address
        self.connection = http.client.HTTPSConnection(host, port, context=context, timeout=30)
        body = self.request(
            "POST", "/access/ticket", {"username": "root@pam", "password": self.root_password}, {}
        ).body
        self.ticket, self.csrf = body["data"]["ticket"], body["data"]["CSRFPreventionToken"]

    def headers(self, who: str) -> dict[str, str]:
        cookie = {"Cookie": f"PVEAuthCookie={quote(self.ticket, safe='')}"}
        if who in TOKENS:
            user, _, name = TOKENS[who].partition("!")
            secret = self.sandbox.site.cluster.users[user].tokens[name].secret
            return {"Authorization": f"PVEAPIToken={TOKENS[who]}={secret}"}
        return {
            "none": {},
            "new-token": {"Authorization": f"PVEAPIToken=new@pve!t1={self.new_token}"},
            "bad-token": {"Authorization": f"PVEAPIToken=root@pam!lab={uuid.UUID(int=1)}"},
            "bad-ticket": {"Cookie": "PVEAuthCookie=PVE%3Aroot%40pam%3A00000000%3A%3Anonsense"},
            "root-ticket": {**cookie, "CSRFPreventionToken": self.csrf},
            "root-ticket-no-csrf": cookie,
            "root-ticket-bad-csrf": {**cookie, "CSRFPreventionToken": "00000000:nonsense"},
        }[who]

    def request(self, method: str, path: str, params: Any, headers: dict[str, str]) -> Answer:
        url = "/api2/json" + quote(path, safe="/:@!")
        pairs = list(params.items()) if isinstance(params, dict) else (params or [])
        text = urlencode([(key, str(value)) for key, value in pairs])
        body = None
        if text and method in {"GET", "DELETE"}:
            url += f"?{text}"
        elif text:
            body, headers = text, {**headers, **HEADERS}
        self.connection.request(method, url, body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        return Answer(answer.status, answer.reason, json.loads(content) if content else None)

    def send(self, index: int, step: dict[str, Any]) -> Answer:
        filled = self.fill({"path": step["path"], "params": step.get("params")})
        answer = self.request(step["method"], filled["path"], filled["params"], self.headers(step["as"]))
        self.answers[index] = answer
        value = (answer.body or {}).get("data") if isinstance(answer.body, dict) else None
        if isinstance(value, dict) and "full-tokenid" in value:
            self.new_token = value["value"]
        return answer

    def fill(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if value == "<root-password>":
            return self.root_password
        if isinstance(value, str):
            return re.sub(r"\{\{steps\.(\d+)\.([\w.-]+)\}\}", self._earlier, value)
        return value

    def _earlier(self, match: re.Match[str]) -> str:
        value: Any = {"body": self.answers[int(match.group(1))].body}
        for key in match.group(2).split("."):
            value = value[key]
        return str(value)

    def await_task(self, upid: str) -> tuple[dict[str, Any], list[str]]:
        path, headers = f"/nodes/{upid.split(':')[1]}/tasks/{upid}", self.headers("root-token")
        deadline = time.monotonic() + 20
        while True:
            status = self.request("GET", f"{path}/status", None, headers).body["data"]
            if status["status"] == "stopped":
                break
            assert time.monotonic() < deadline, upid
            time.sleep(0.01)
        lines = self.request("GET", f"{path}/log", {"limit": 0}, headers).body["data"]
        return status, [line["t"] for line in lines]


def site_of(transcript: dict[str, Any], pace: Pace) -> tuple[Site, str]:
    """A site in the state of a transcript, and root's password."""
    state, release = transcript["preconditions"]["state"], RELEASES[int(transcript["pve"].split(".")[0])]
    node, password = state["node"], str(uuid.uuid4())
    address = urlsplit(node["http_server"]["base"]).hostname or ""
    nodes = {
        node["name"]: Node(
            node["name"],
            address,
            kvm=node["kvm_device"],
            iommu=node["iommu"],
            bridges=node["bridges"],
            pci_devices=state["pci_devices"],
        )
    }
    for name, why in node["other_node_names_that_resolve"].items():
        reason = "No route to host" if "route" in why else "Connection refused"
        nodes[name] = Node(name, reachable=reason)
    roles = builtin_roles(release) | {name: frozenset(held) for name, held in state["roles"].items()}
    cluster = Cluster(release, nodes, node["name"], roles=roles, custom_roles=set(state["roles"]))
    cluster.users = {user["userid"]: user_of(user, password) for user in state["users"]}
    cluster.acl = [
        AclEntry(e["path"], e["type"], e["ugid"], e["roleid"], e["propagate"]) for e in state["acl"]
    ]
    cluster.storages = {entry["storage"]: storage_of(entry) for entry in state["storages"]}
    cluster.volumes = {entry["volid"]: volume_of(entry, state) for entry in state["volumes"]}
    for entry in state["pci_mappings"] or []:
        cluster.mappings[entry["id"]] = Mapping(entry["id"], entry["map"], entry.get("description"))
    for entry in state["vms"]:
        cluster.vms[entry["vmid"]] = vm_of(entry, node["name"])
    for entry in state["pools"]:
        cluster.pools[entry["poolid"]] = pool_of(entry)
    for vm in cluster.vms.values():
        vm.devices = devices_of(vm, cluster) if vm.body.state() != "stopped" else []
    return make_site(cluster, pace=pace, fetch=fetcher_of(node["http_server"])), password


def pool_of(entry: dict[str, Any]) -> Pool:
    members = entry.get("members", [])
    vms = {member["vmid"] for member in members if "vmid" in member}
    storages = {member["storage"] for member in members if "storage" in member}
    return Pool(entry["poolid"], entry.get("comment", ""), vms, storages)


def devices_of(vm: Vm, cluster: Cluster) -> list[str]:
    """The devices that a running VM holds: those of the first entry of its mapping, or by address."""
    found: list[str] = []
    for name, value in vm.config.items():
        if name.startswith("hostpci"):
            mapping = re.search(r"mapping=([^,]+)", value)
            entry = cluster.mappings[mapping.group(1)].map[0] if mapping else f"path={value.split(',')[0]}"
            path = re.search(r"path=([^,]+)", entry)
            assert path
            ids = [device["id"] for device in cluster.nodes[vm.node].pci_devices]
            found += [one for one in ids if one.startswith(path.group(1))]
    return found


def user_of(entry: dict[str, Any], password: str) -> User:
    tokens = {
        token["tokenid"]: Token(str(uuid.uuid4()), token["privsep"], token["expire"])
        for token in entry["tokens"]
    }
    own_password = password if entry["userid"] == "root@pam" else None
    details = {"comment": entry["comment"]} if "comment" in entry else {}
    return User(entry["userid"], own_password, entry["enable"], tokens, details)


def storage_of(entry: dict[str, Any]) -> Storage:
    state = entry["node_state"]
    is_on = bool(state["enabled"])
    return Storage(
        entry["storage"],
        entry["type"],
        entry["path"],
        entry["content"].split(","),
        nodes=entry["nodes"].split(",") if "nodes" in entry else [],
        disable=bool(entry.get("disable")),
        is_mountpoint=entry.get("is_mountpoint"),
        mounted=bool(state["active"]) or not is_on,
        options={key: entry[key] for key in ("prune-backups",) if key in entry},
        total=state["total"],
        used=state["used"],
        avail=state["avail"],
    )


def volume_of(entry: dict[str, Any], state: dict[str, Any]) -> Volume:
    served = state["node"]["http_server"]["files"].get(entry["volid"].rpartition("/")[2], {})
    return Volume(
        entry["volid"],
        entry["content"],
        entry["format"],
        entry["size"],
        entry["ctime"],
        used=entry.get("used", entry["size"]),
        vmid=entry.get("vmid"),
        parent=entry.get("parent"),
        digests={"sha256": served["sha256"]} if "sha256" in served else {},
        virtual_size=served.get("virtual_size"),
    )


def vm_of(entry: dict[str, Any], node: str) -> Vm:
    config = {key: "" if value == " " else value for key, value in entry["config"].items() if key != "digest"}
    is_on = entry["state"] == "running"
    body = BareBody(power="running" if is_on else "stopped")
    return Vm(entry["vmid"], node, config, body, started_at=time.time(), pid=2000)


def fetcher_of(server: dict[str, Any]) -> Any:
    """The lab's web server by its description: sizes and checksums, no content."""
    base, files = server["base"], server["files"]

    def fetch(url: str, target: str | None) -> Fetched:
        if not url.startswith(base):
            raise Unreachable("Temporary failure in name resolution")
        name = url.removeprefix(base).strip("/")
        if name not in files:
            raise Refused("404 File not found")
        entry = files[name]
        whole = files.get(entry.get("same_bytes_as", name), entry)
        digests = {"sha256": whole["sha256"]} if "sha256" in whole else {}
        is_image = "content" not in entry
        size = whole.get("virtual_size", entry["size"])
        return Fetched(entry["size"], "application/octet-stream", name, None, digests, size, is_image)

    return fetch


def host_action(site: Site, action: str) -> None:
    node = site.cluster.nodes[site.cluster.local]
    match = re.fullmatch(r"iommu (on|off)", action)
    assert match, f"unknown host action {action!r}"
    node.iommu = match.group(1) == "on"
