"""Disk images and seed ISOs on a node's storages."""

from __future__ import annotations

import io
from typing import Any

from localai_deploy.domain.pve.images import CloudImage
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.client import TRANSIENT, PveClient
from localai_deploy.proxmox.jobs import Jobs
from localai_deploy.proxmox.tasks import TaskWaiter

DOWNLOAD_TIMEOUT_S = 3600
UPLOAD_TIMEOUT_S = 120
DOWNLOAD_ATTEMPTS = 3
_DOWNLOADS = frozenset({"download", "imgdownload"})
_UNKNOWN_END = frozenset({*TRANSIENT, "pve-task-lost", "pve-task-cut-off"})


class ImageStore:
    """Images of one node."""

    def __init__(self, client: PveClient, waiter: TaskWaiter) -> None:
        self._client = client
        self._waiter = waiter
        self._jobs = Jobs(client, waiter)

    def contents(self, storage: str) -> frozenset[str]:
        """What the storage is set up to hold (``import``, ``iso``, ``images``, …)."""
        for entry in self._client.get(f"nodes/{self._client.node}/storage"):
            if entry["storage"] == storage:
                return frozenset(str(entry.get("content", "")).split(","))
        raise LocalaiError(
            "pve-storage-missing",
            f"node {self._client.node} has no storage {storage!r} that this token may see",
            hint=(
                "pvesm status on the node lists its storages; to see one that is there, the token needs "
                f"Datastore.Audit or Datastore.AllocateSpace on /storage/{storage}"
            ),
        )

    def volumes(self, storage: str, content: str) -> dict[str, dict[str, Any]]:
        """Volume id → entry of one kind of content."""
        path = f"nodes/{self._client.node}/storage/{storage}/content"
        return {str(entry["volid"]): entry for entry in self._client.get(path, content=content)}

    def require_reachable(self, image: CloudImage) -> None:
        """Let the node ask at the image's URL, without fetching it.

        :raises LocalaiError: ``pve-image-unreachable``; ``pve-forbidden``.
        """
        try:
            self._client.get(f"nodes/{self._client.node}/query-url-metadata", url=image.url)
        except LocalaiError as error:
            if error.error_id in {"pve-forbidden", *TRANSIENT}:
                raise
            raise LocalaiError(
                "pve-image-unreachable",
                f"node {self._client.node} cannot fetch the image {image.url}",
                why=error.why or error.what,
                hint=(
                    "the node itself downloads it: check its network and DNS; or let it fetch from a mirror "
                    "of your own: localai_mirrors.images, or another --image"
                ),
            ) from error

    def ensure_image(self, storage: str, image: CloudImage) -> str:
        """Have the image on the storage; the node itself downloads and checks it.

        With the same checksum an existing file is accepted by the node without a download, and one
        with another checksum is refused, so this is safe to repeat: after a lost answer, or a task whose
        end nobody saw, a download that is still at work is waited for, and the node is asked again.

        :returns: its volume id.
        :raises LocalaiError: ``pve-content-missing``, ``pve-image-checksum``, ``pve-image-other``,
            ``pve-download-failed``.
        """
        self._require(storage, "import")
        for attempt in range(DOWNLOAD_ATTEMPTS):
            try:
                self._await_download(image.file_name)
                self._download(storage, image)
                break
            except LocalaiError as error:
                if attempt + 1 == DOWNLOAD_ATTEMPTS or not _end_is_unknown(error):
                    raise
        volume = f"{storage}:import/{image.file_name}"
        if volume not in self.volumes(storage, "import"):
            raise LocalaiError("pve-readback-failed", f"image {volume} is not there after its download")
        return volume

    def _download(self, storage: str, image: CloudImage) -> None:
        upid = self._client.post(
            f"nodes/{self._client.node}/storage/{storage}/download-url",
            content="import",
            url=image.url,
            filename=image.file_name,
            checksum=image.checksum,
            checksum_algorithm=image.algorithm,
        )
        self._waiter.wait(str(upid), DOWNLOAD_TIMEOUT_S)

    def _await_download(self, file_name: str) -> None:
        """Wait for downloads of that file which are at work; how they end is seen afterwards."""
        for task in self._client.get(f"nodes/{self._client.node}/tasks", source="active"):
            if task["type"] in _DOWNLOADS and str(task["id"]) == file_name:
                try:
                    self._waiter.wait(str(task["upid"]), DOWNLOAD_TIMEOUT_S)
                except LocalaiError as error:
                    if error.error_id == "pve-task-timeout":
                        raise

    def upload_seed(self, storage: str, file_name: str, content: bytes) -> str:
        """Upload a seed ISO; one of the same name is replaced.

        When the answer or the task is lost, the volume itself tells whether all of it has come.

        :param file_name: of this content alone.
        :returns: its volume id.
        :raises LocalaiError: ``pve-content-missing``, ``pve-storage-full``, …; ``pve-readback-failed``.
        """
        self._require(storage, "iso")
        file, volume = io.BytesIO(content), f"{storage}:iso/{file_name}"
        file.name = file_name
        path = f"nodes/{self._client.node}/storage/{storage}/upload"
        try:
            self._jobs.run(
                lambda: self._client.post(path, content="iso", filename=file), "imgcopy", "", UPLOAD_TIMEOUT_S
            )
        except LocalaiError as error:
            if error.error_id not in _UNKNOWN_END or not self._is_whole(storage, volume, len(content)):
                raise
        if not self._is_whole(storage, volume, len(content)):
            raise LocalaiError("pve-readback-failed", f"seed {volume} is not there after its upload")
        return volume

    def _is_whole(self, storage: str, volume: str, size_bytes: int) -> bool:
        entry = self.volumes(storage, "iso").get(volume)
        return entry is not None and int(entry["size"]) == size_bytes

    def remove(self, storage: str, volume: str) -> None:
        """Delete a volume."""
        upid = self._client.delete(f"nodes/{self._client.node}/storage/{storage}/content/{volume}")
        if upid:
            self._waiter.wait(str(upid), UPLOAD_TIMEOUT_S)

    def _require(self, storage: str, content: str) -> None:
        held = self.contents(storage)
        if content not in held:
            raise LocalaiError(
                "pve-content-missing",
                f"storage {storage} of node {self._client.node} does not take content {content!r}",
                why=f"it takes {', '.join(sorted(held))}",
                hint=f"on the node: pvesm set {storage} --content {','.join(sorted({*held, content}))}",
            )


def _end_is_unknown(error: LocalaiError) -> bool:
    """The download may be done, at work or never begun; or another run's was faster."""
    return error.error_id in _UNKNOWN_END or "refusing to override" in str(error)
