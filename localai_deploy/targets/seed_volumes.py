"""The first boot's ISO on a node's storage: brought there, and taken away again."""

from __future__ import annotations

from contextlib import suppress

from localai_deploy.domain.pve.seed import Seed, check_public_keys, seed_file_name
from localai_deploy.domain.pve.vm import SEED_DRIVE, VmIdentity, VmSpec
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.node import PveNode
from localai_deploy.targets.seed_iso import seed_iso


class SeedVolumes:
    """Seeds of one node.

    :param left_over: takes what could not be removed, one sentence each.
    """

    def __init__(self, node: PveNode, left_over: list[str]) -> None:
        self._node = node
        self._left_over = left_over

    def upload(self, wish: VmWish, spec: VmSpec, identity: VmIdentity) -> None:
        """Make and upload the ISO for a VM (:func:`seed_volume`)."""
        iso = seed_iso(_seed(wish, spec, identity))
        self._node.images.upload_seed(spec.seed_storage, seed_file_name(spec.name, identity.uuid), iso)

    def remove(self, volume: str) -> None:
        """Delete an ISO, or name it as left over."""
        try:
            self._node.images.remove(volume.partition(":")[0], volume)
        except LocalaiError as error:
            if self._may_be_there(volume):
                text = f"{volume} stays on node {self._node.name} ({error.what}); there: pvesm free {volume}"
                self._left_over.append(text)

    def drop(self, volume: str) -> None:
        """After an attempt that failed: the ISO goes, unless a VM has it, or nobody knows."""
        with suppress(LocalaiError):
            members = self._node.vms.members()
            is_used = any(volume in str(one.config.get(SEED_DRIVE, "")) for one in members)
            if not is_used and self._is_there(volume):
                self.remove(volume)

    def _is_there(self, volume: str) -> bool:
        return volume in self._node.images.volumes(volume.partition(":")[0], "iso")

    def _may_be_there(self, volume: str) -> bool:
        try:
            return self._is_there(volume)
        except LocalaiError:
            return True


def seed_volume(spec: VmSpec, identity: VmIdentity) -> str:
    """The volume id of a VM's ISO."""
    return f"{spec.seed_storage}:iso/{seed_file_name(spec.name, identity.uuid)}"


def _seed(wish: VmWish, spec: VmSpec, identity: VmIdentity) -> Seed:
    system = wish.image.system
    return Seed(
        instance_id=identity.uuid,
        hostname=spec.name,
        user=spec.user,
        mac=identity.mac,
        authorized_keys=check_public_keys(wish.authorized_keys),
        static=spec.static,
        apt_mirror=wish.mirrors.apt_archive(system.os_id if system else "debian"),
    )
