"""The running whole: a cluster's state with everything that works on it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.sandbox.auth import Authentication, Identity
from localai_deploy.sandbox.body import BareBody, GuestBody
from localai_deploy.sandbox.endpoint import Endpoint
from localai_deploy.sandbox.faults import Faults
from localai_deploy.sandbox.fetching import Fetcher, fetch_by_http
from localai_deploy.sandbox.permissions import Permissions
from localai_deploy.sandbox.state import Cluster, Node
from localai_deploy.sandbox.tasks import Tasks, Work


@dataclass
class Pace:
    """How long things take, in seconds; `scale` shortens all waits of the real server."""

    scale: float = 1.0
    import_s: float = 0.3
    status_round_s: float = 10.0

    def sleep(self, seconds: float) -> None:
        """Wait that long, scaled."""
        if seconds * self.scale > 0:
            time.sleep(seconds * self.scale)


@dataclass
class Site:
    """State and machinery of one sandbox; `files_dir` is where files of storages really lie.

    `requests` holds method, path and status of all that was answered; `on_request` hears each as one line.
    """

    cluster: Cluster
    files_dir: str
    pace: Pace = field(default_factory=Pace)
    fetch: Fetcher = fetch_by_http
    make_body: Callable[[int], GuestBody] = lambda vmid: BareBody()  # noqa: ARG005
    fingerprint: str = ""
    faults: Faults = field(default_factory=Faults)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    on_request: Callable[[str], None] = lambda line: None  # noqa: ARG005
    started_at: float = field(default_factory=time.time)
    pids: itertools.count[int] = field(default_factory=lambda: itertools.count(3000))
    folder: Any = None

    def __post_init__(self) -> None:
        self.permissions = Permissions(self.cluster)
        self.authentication = Authentication(self.cluster)
        self.tasks = Tasks()

    def note_request(self, method: str, path: str, status: int) -> None:
        """Keep what was answered, before the answer is sent."""
        self.requests.append((method, path, status))
        self.on_request(f"{method} {path} {status}")


@dataclass
class Call:
    """One verified request: who asks, what, with which typed values."""

    site: Site
    who: Identity
    endpoint: Endpoint
    values: dict[str, Any]
    upload: bytes | None = None

    @property
    def cluster(self) -> Cluster:
        """The state that the call works on."""
        return self.site.cluster

    @property
    def permissions(self) -> Permissions:
        """The privilege engine."""
        return self.site.permissions

    @property
    def major(self) -> int:
        """The main number of the release."""
        return self.cluster.release.major

    @property
    def node(self) -> Node:
        """The node named in the path."""
        return self.cluster.nodes[self.values["node"]]

    def task(self, kind: str, about: object, work: Work) -> str:
        """Start a task on the node of the call; the fault `task-lost` makes the node forget it."""
        upid = self.site.tasks.start(self.values["node"], kind, str(about), self.who, work)
        if self.site.faults.hit(f"task {kind} {about}", "task-lost"):
            del self.site.tasks.all[upid]
        return upid


Answer = Any
Handler = Callable[[Call], Answer]
