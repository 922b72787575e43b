"""Calls that let the node work: sent once, then their task is waited for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import TRANSIENT, PveClient
from localai_deploy.proxmox.tasks import TaskWaiter

_RECENT = 200


class Jobs:
    """Work of one node."""

    def __init__(self, client: PveClient, waiter: TaskWaiter) -> None:
        self._client = client
        self._waiter = waiter
        self.sleep = waiter.sleep

    def run(self, call: Callable[[], Any], kind: str, about: object, timeout_s: float) -> None:
        """Send ``call`` and wait for the task whose UPID it answers.

        When the answer is lost, the work may be going on all the same: it is waited for before the error
        is raised, so that the caller can look at what has become of it.

        :param kind: the task's type; ``about`` its id.
        :raises LocalaiError: what the call or its task failed with.
        """
        try:
            upid = call()
        except LocalaiError as error:
            if error.error_id in TRANSIENT:
                with suppress(LocalaiError):
                    self.await_running({kind}, {str(about)}, timeout_s)
            raise
        if upid:
            self._waiter.wait(str(upid), timeout_s)

    def await_running(self, kinds: Collection[str], about: Collection[str], timeout_s: float) -> None:
        """Wait for such tasks that are at work; how they end is seen afterwards.

        :raises LocalaiError: ``pve-task-timeout``; the tasks cannot be listed.
        """
        path = f"nodes/{self._client.node}/tasks"
        for task in self._client.get(path, source="active", limit=_RECENT):
            if task["type"] in kinds and str(task["id"]) in about and "endtime" not in task:
                self._wait_quietly(str(task["upid"]), timeout_s)

    def _wait_quietly(self, upid: str, timeout_s: float) -> None:
        try:
            self._waiter.wait(upid, timeout_s)
        except LocalaiError as error:
            if error.error_id == "pve-task-timeout":
                raise
