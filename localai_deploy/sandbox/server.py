"""One sandbox: a cluster with its HTTPS server, started and stopped together."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field

from localai_deploy.sandbox.certificate import Certificate, make_certificate
from localai_deploy.sandbox.fetching import Fetcher, fetch_by_http
from localai_deploy.sandbox.http_front import Front
from localai_deploy.sandbox.release import RELEASES, builtin_roles
from localai_deploy.sandbox.site import Pace, Site
from localai_deploy.sandbox.state import Cluster, Node, Storage, Token, User

_TASKS_END_S = 5.0
CONTENT = ["iso", "vztmpl", "backup", "images", "rootdir", "snippets", "import"]


@dataclass(frozen=True)
class Credentials:
    """How to get in; made anew at each start."""

    root_password: str
    token_id: str
    token_secret: str


def new_cluster(major: int = 9, node: str = "pve1") -> Cluster:
    """An empty cluster of one node with the storage `local`."""
    release = RELEASES[major]
    content = [kind for kind in CONTENT if kind != "import" or major > 7]
    local = Storage("local", content=content, options={"prune-backups": "keep-all=1"})
    return Cluster(
        release,
        {node: Node(node)},
        node,
        users={"root@pam": User("root@pam", secrets.token_urlsafe(18))},
        roles=builtin_roles(release),
        storages={"local": local},
    )


@dataclass
class Sandbox:
    """A context manager: serves `site` on `address`; port 0 takes a free one."""

    site: Site
    address: tuple[str, int] = ("127.0.0.1", 0)
    certificate: Certificate = field(init=False)
    _front: Front | None = None

    def start(self) -> Credentials:
        """Listen, and make a token with all rights for root."""
        self.certificate = make_certificate([*self.site.cluster.nodes, "localhost"], [self.address[0]])
        self.site.fingerprint = self.certificate.fingerprint
        self._front = Front(self.site, self.address, self.certificate)
        self.address = (self.address[0], self._front.server_address[1])
        threading.Thread(
            target=self._front.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()
        root = self.site.cluster.users["root@pam"]
        token = root.tokens.setdefault("sandbox", Token(str(uuid.uuid4()), privsep=0))
        return Credentials(root.password or "", "root@pam!sandbox", token.secret)

    def stop(self) -> None:
        """Close the server and switch all guests off."""
        if self._front is not None:
            self._front.close_all()
            self._front = None
        _end_work(self.site)

    def replace(self, site: Site) -> None:
        """Serve another site from now on, under the same certificate; all of the old one ends."""
        site.fingerprint = self.certificate.fingerprint
        old, self.site = self.site, site
        with site.cluster.lock:
            if self._front is not None:
                self._front.site = site
            _end_work(old)

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"https://{self.address[0]}:{self.address[1]}"

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


def _end_work(site: Site) -> None:
    """Interrupt the tasks and switch all guests off."""
    running = [task for task in list(site.tasks.all.values()) if task.exitstatus is None]
    for task in running:
        task.stop_asked.set()
    deadline = time.monotonic() + _TASKS_END_S
    for task in running:
        task.ended.wait(max(0.0, deadline - time.monotonic()))
    for vm in list(site.cluster.vms.values()):
        vm.body.stop()


def make_site(cluster: Cluster, pace: Pace | None = None, fetch: Fetcher = fetch_by_http) -> Site:
    """A site with a folder of its own for files, removed with the process."""
    folder = tempfile.TemporaryDirectory(prefix="localai-sandbox-")
    site = Site(cluster, folder.name, pace or Pace(), fetch)
    site.folder = folder
    return site
