"""Which of a node's storages hold disks, image and seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.pve.facts import NodeFacts, StorageFacts
from localai_deploy.domain.pve.images import CloudImage
from localai_deploy.domain.pve.vm import VmSpec
from localai_deploy.domain.units import format_bytes

GIB = 1 << 30
IMAGE_ROOM_BYTES = GIB
"""Room for one cloud image (their downloads are 0.3 to 0.7 GiB)."""
_SEED_ROOM_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Use:
    """What a storage is wanted for; where none is ``named``, the ``preferred`` ones are taken first.

    :param present: storages that hold it already: nothing has to come, and no room is needed.
    """

    field: str
    named: str
    content: str
    purpose: str
    preferred: tuple[str, ...]
    room_bytes: int
    present: tuple[str, ...] = ()


def choose_storages(
    spec: VmSpec, node: NodeFacts, image: CloudImage | None = None
) -> tuple[VmSpec, tuple[Finding, ...]]:
    """``spec`` with every storage named, and what stands against those that are named or chosen.

    :param image: a storage that holds it already is taken first.
    """
    held = [one.name for one in node.storages if image and image.volume_on(one.name) in node.images]
    uses = tuple(_uses(spec, tuple(held)))
    names = {use.field: use.named or _best(use, node) for use in uses}
    findings = tuple(finding for use in uses for finding in _findings(use, names[use.field], node))
    return spec.with_storages(names), findings


def _uses(spec: VmSpec, image_on: tuple[str, ...]) -> Iterator[_Use]:
    yield _Use(
        "vm_storage",
        spec.vm_storage,
        "images",
        "the VM's disks",
        ("local-lvm", "local-zfs"),
        spec.disk_gib * GIB,
    )
    if not spec.template:
        yield _Use(
            "image_storage",
            spec.image_storage,
            "import",
            "the disk image",
            ("local",),
            IMAGE_ROOM_BYTES,
            image_on,
        )
    yield _Use("seed_storage", spec.seed_storage, "iso", "the first boot's ISO", ("local",), _SEED_ROOM_BYTES)


def _best(use: _Use, node: NodeFacts) -> str:
    """The storage that holds it already, a preferred one that takes it, or the one with the most room.

    Empty: no active one takes it.
    """
    able = [one for one in node.storages if one.active and use.content in one.content]
    present = [one for one in able if one.name in use.present]
    preferred = [one for name in use.preferred for one in able if one.name == name]
    fitting = [one for one in preferred if one.available_bytes >= use.room_bytes]
    ranked = present or fitting or sorted(able, key=lambda one: -one.available_bytes)
    return ranked[0].name if ranked else ""


def _findings(use: _Use, name: str, node: NodeFacts) -> Iterator[Finding]:
    storage = node.storage(name)
    if not name:
        yield _no_content(use, node)
    elif storage is None:
        yield _blocker(
            "pve-storage-missing",
            f"node {node.node} has no storage {name!r} that this token may see ({use.purpose})",
            f"it sees {', '.join(sorted(one.name for one in node.storages)) or 'none'}",
            "on the node: pvesm status",
        )
    elif use.content not in storage.content:
        yield _content_missing(use, storage, node)
    elif not storage.active:
        yield _inactive(use, storage, node)
    elif storage.available_bytes < use.room_bytes and name not in use.present:
        yield _blocker(
            "pve-no-space",
            f"storage {name} of node {node.node} has {format_bytes(storage.available_bytes)} free",
            f"{use.purpose} may grow to {format_bytes(use.room_bytes)}; a full storage stops every VM on it",
            "make room, name another storage, or ask for less",
        )


def _no_content(use: _Use, node: NodeFacts) -> Finding:
    """No active storage takes the content: the one that is most likely meant is named in the command."""
    inactive = next((one for one in node.storages if use.content in one.content), None)
    if inactive is not None:
        return _inactive(use, inactive, node)
    names = (*use.preferred, *(one.name for one in node.storages))
    likely = next((found for name in names if (found := node.storage(name)) is not None), None)
    if likely is not None:
        return _content_missing(use, likely, node)
    return _blocker(
        "pve-storage-missing",
        f"node {node.node} has no storage at all that this token may see ({use.purpose})",
        hint=f"localai-deploy node permissions {node.node} --role run; on the node: pvesm status",
    )


def _inactive(use: _Use, storage: StorageFacts, node: NodeFacts) -> Finding:
    return _blocker(
        "pve-storage-inactive",
        f"storage {storage.name} of node {node.node} is not active ({use.purpose})",
        "it is disabled, or what it lies on is not mounted",
        f"on the node: pvesm status; pvesm set {storage.name} --disable 0",
    )


def _content_missing(use: _Use, storage: StorageFacts, node: NodeFacts) -> Finding:
    if use.content == "import" and not node.version.has_import_content:
        return _blocker(
            "pve-import-missing",
            f"Proxmox VE {node.version} on {node.node} cannot import a disk image by API",
            "storages take content 'import' from 8.4 on",
            "upgrade the node, or make a template there once and name its id with localai_template",
        )
    held = ", ".join(sorted(storage.content)) or "nothing"
    wanted = ",".join(sorted({*storage.content, use.content}))
    return _blocker(
        "pve-content-missing",
        f"storage {storage.name} of node {node.node} does not take content {use.content!r} ({use.purpose})",
        f"it takes {held}",
        f"on the node: pvesm set {storage.name} --content {wanted}",
    )


def _blocker(finding_id: str, what: str, why: str = "", hint: str = "") -> Finding:
    return Finding(finding_id, Severity.BLOCKER, what, why, hint)
