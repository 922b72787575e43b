"""A small client for a sandbox, and a cluster with a bit of everything to talk about."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from localai_deploy.sandbox.fetching import Fetched, Refused, Unreachable
from localai_deploy.sandbox.server import Credentials, Sandbox, make_site, new_cluster
from localai_deploy.sandbox.site import Pace
from localai_deploy.sandbox.state import AclEntry, Mapping, Node, Storage, Token, User, Volume

DIGEST = "82a0b58dcad246a87bdfdb1180aa06f9691e761a2c7575f9bfda12f5d4571278"
IMAGE = "local:import/debian.qcow2"
GPU0 = "node=pve1,path=0000:01:00.0,id=10de:2684,iommugroup=14,subsystem-id=1043:889c"
GPU1 = "node=pve1,path=0000:02:00.0,id=10de:2684,iommugroup=15,subsystem-id=1043:889c"


def device(address: str, group: int, kind: str = "0x030000", model: str = "0x2684") -> dict[str, Any]:
    return {
        "id": address,
        "class": kind,
        "vendor": "0x10de",
        "device": model,
        "iommugroup": group,
        "subsystem_vendor": "0x1043",
        "subsystem_device": "0x889c",
        "vendor_name": "NVIDIA Corporation",
        "device_name": "AD102",
    }


@dataclass
class Reply:
    status: int
    reason: str
    body: Any
    errors: dict[str, str]
    exitstatus: str | None = None
    log: tuple[str, ...] = ()

    @property
    def data(self) -> Any:
        return self.body["data"] if self.body else None


@dataclass
class Talk:
    """Speaks to a sandbox as root's token unless told otherwise; tasks are awaited."""

    sandbox: Sandbox
    credentials: Credentials

    def __post_init__(self) -> None:
        self.context = ssl.create_default_context(cadata=self.sandbox.certificate.certificate_pem)
        self.headers = {
            "Authorization": f"PVEAPIToken={self.credentials.token_id}={self.credentials.token_secret}"
        }

    def as_token(self, name: str) -> Talk:
        other = Talk(self.sandbox, self.credentials)
        user, _, token = name.partition("!")
        secret = self.sandbox.site.cluster.users[user].tokens[token].secret
        other.headers = {"Authorization": f"PVEAPIToken={name}={secret}"}
        return other

    def as_root_ticket(self) -> Talk:
        other = Talk(self.sandbox, self.credentials)
        login = self("POST", "/access/ticket", username="root@pam", password=self.credentials.root_password)
        other.headers = {
            "Cookie": f"PVEAuthCookie={quote(login.data['ticket'], safe='')}",
            "CSRFPreventionToken": login.data["CSRFPreventionToken"],
        }
        return other

    def __call__(
        self, method: str, path: str, pairs: Any = None, *, wait: bool = True, **params: Any
    ) -> Reply:
        given = pairs or {key.replace("_", "-"): value for key, value in params.items()}
        text = urlencode(given, doseq=True)
        url = "/api2/json" + quote(path, safe="/:@!")
        body, headers = None, dict(self.headers)
        if method in {"GET", "DELETE"}:
            url += f"?{text}" if text else ""
        elif text:
            body, headers["Content-Type"] = text, "application/x-www-form-urlencoded"
        reply = self._send(method, url, body, headers)
        if wait and isinstance(reply.data, str) and reply.data.startswith("UPID"):
            self.finish(reply)
        return reply

    def _send(self, method: str, url: str, body: Any, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPSConnection(*self.sandbox.address, context=self.context, timeout=20)
        connection.request(method, url, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        parsed = json.loads(content) if content else None
        errors = (parsed or {}).get("errors", {}) if isinstance(parsed, dict) else {}
        return Reply(answer.status, answer.reason, parsed, errors)

    def finish(self, reply: Reply) -> None:
        task = self.sandbox.site.tasks.all[reply.data]
        assert task.ended.wait(20), reply.data
        reply.exitstatus, reply.log = task.exitstatus, tuple(task.log)

    def upload(self, path: str, fields: dict[str, str], name: str, content: bytes) -> Reply:
        boundary = "----sandbox-boundary"
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
            for key, value in fields.items()
        ]
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="filename"; filename="{name}"\r\n\r\n'
        body = b"".join([*parts, head.encode(), content, f"\r\n--{boundary}--\r\n".encode()])
        headers = {**self.headers, "Content-Type": f"multipart/form-data; boundary={boundary}"}
        reply = self._send("POST", f"/api2/json{path}", body, headers)
        if isinstance(reply.data, str):
            self.finish(reply)
        return reply


def fetch(url: str, target: str | None) -> Fetched:
    """A web server with one image, one junk file and nothing else."""
    host, _, name = url.removeprefix("http://").partition("/")
    if host.endswith(".invalid"):
        raise Unreachable("Temporary failure in name resolution")
    if name not in {"debian.qcow2", "junk.qcow2"}:
        raise Refused("404 Not Found")
    return Fetched(
        2359296, "application/octet-stream", name, None, {"sha256": DIGEST}, 2 << 30, name != "junk.qcow2"
    )


def example(major: int = 9) -> Sandbox:
    """One node with two GPUs, an image, a few storages, and two peers that do not answer."""
    cluster = new_cluster(major)
    here = cluster.nodes["pve1"]
    here.kvm = False
    here.pci_devices = [
        device("0000:01:00.0", 14),
        device("0000:01:00.1", 14, "0x040300", "0x22ba"),
        device("0000:02:00.0", 15),
        device("0000:02:00.1", 15, "0x040300", "0x22ba"),
    ]
    cluster.nodes["pve2"] = Node("pve2", reachable="No route to host")
    cluster.nodes["pve3"] = Node("pve3", reachable="Connection refused")
    cluster.storages["off"] = Storage("off", content=["images"], disable=True)
    cluster.storages["iso"] = Storage("iso", content=["iso"])
    image = Volume(
        IMAGE, "import", "qcow2", 2359296, int(time.time()), used=2359296, digests={"sha256": DIGEST}
    )
    image.virtual_size = 2 << 30
    cluster.volumes[IMAGE] = image
    cluster.mappings["gpu0"] = Mapping("gpu0", [GPU0])
    cluster.mappings["both"] = Mapping("both", [GPU0, GPU1])
    cluster.mappings["nogroup"] = Mapping("nogroup", ["node=pve1,path=0000:02:00.0,id=10de:2684"])
    cluster.users["tool@pve"] = User("tool@pve", tokens={"prov": Token("1" * 8, privsep=0)})
    cluster.roles["Tool"] = frozenset({"VM.Allocate", "VM.Audit", "VM.PowerMgmt", "VM.Config.Options"})
    cluster.acl.append(AclEntry("/vms", "user", "tool@pve", "Tool"))
    return Sandbox(make_site(cluster, Pace(scale=0.01, import_s=0.05, status_round_s=0), fetch))
