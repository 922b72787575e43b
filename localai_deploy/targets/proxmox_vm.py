"""A VM on a Proxmox node: made by us, then a host like any other."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import Any

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.plan import Finding, StepKind
from localai_deploy.domain.pve.credentials import NodeConnection
from localai_deploy.domain.pve.facts import NodeFacts, VmFacts
from localai_deploy.domain.pve.network import parse_network_device
from localai_deploy.domain.pve.planning import VmPlan, plan_vm
from localai_deploy.domain.pve.seed import Seed, check_public_keys, seed_file_name, seed_volume_name
from localai_deploy.domain.pve.vm import (
    SEED_DRIVE,
    SYSTEM_DISK,
    VmIdentity,
    candidate_ids,
    creation,
    finishing,
    new_identity,
)
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.node import PveNode
from localai_deploy.targets.base import Tell
from localai_deploy.targets.executor import Executor
from localai_deploy.targets.guest import (
    Patience,
    await_address,
    await_first_boot,
    await_login,
    guest_connection,
    learn_host_key,
)
from localai_deploy.targets.seed_iso import seed_iso
from localai_deploy.targets.ssh_host import SshHost

OpenNode = Callable[[NodeConnection, Callable[[str], None]], PveNode]
"""Opens a node's API; lines of the logs of its tasks go to the second argument."""

_SHARE = re.compile(r"(\d{1,3})(?:\.\d+)? ?%")


def _silent(text: str, looks: int) -> None:
    """Nobody listens."""


class ProxmoxVm:
    """See :class:`localai_deploy.targets.base.Target`; before the guest is up only its node can be asked."""

    def __init__(self, name: str, wish: VmWish, open_node: OpenNode, become_password: str = "") -> None:
        self.name = name
        self.wish = wish
        self.left_over: list[str] = []
        self._tell: Tell = _silent
        self._node = open_node(wish.node, self._hear)
        self._password = become_password
        self._host: SshHost | None = None

    @property
    def connection(self) -> Connection:
        """The guest's, once it was found; before that only its name and user are known."""
        if self._host is not None:
            return self._host.connection
        return Connection(kind="vm", destination=self.name, user=self.wish.spec.user)

    def survey(self) -> VmPlan:
        """Look at node and VM through the API, and plan; nothing is changed.

        A create that an earlier run of ours left at work is waited for.

        :raises LocalaiError: ``pve-*``, ``tls-*``, ``vm-name-twice``.
        """
        facts = self._node.facts()
        self._node.claims.await_running_create(candidate_ids(self.wish.spec))
        vm = self._node.vms.named(self.wish.spec.name)
        if vm is not None:
            self.wish = self.wish.for_vm(vm.block)
        return plan_vm(
            self.wish.spec,
            self.wish.image,
            facts,
            vm,
            has_key=bool(self.wish.authorized_keys),
            problems=self._image_problems(facts) if vm is None else (),
        )

    def _image_problems(self, facts: NodeFacts) -> tuple[Finding, ...]:
        """Whether the node reaches an image that it has still to download; without the right to ask: none."""
        image = self.wish.image
        names = {volume.rpartition("/")[2] for volume in facts.images}
        if self.wish.spec.template or image.file_name in names:
            return ()
        try:
            self._node.images.require_reachable(image)
        except LocalaiError as error:
            return (Finding.from_error(error),) if error.error_id == "pve-image-unreachable" else ()
        return ()

    def provision(self, kind: StepKind, plan: VmPlan, tell: Tell) -> None:
        """See :class:`localai_deploy.targets.base.Target`."""
        self._tell = tell
        match kind:
            case StepKind.IMAGE:
                self._ensure_image(plan, tell)
            case StepKind.VM:
                self._ensure_vm(plan, tell)
            case StepKind.START:
                self._ensure_up(tell)

    def _hear(self, line: str) -> None:
        """Pass on how far a download or a copy on the node has come."""
        if share := _SHARE.findall(line):
            self._tell(f"{self._node.name} is at work: {share[-1]} %", 0)

    def _ensure_image(self, plan: VmPlan, tell: Tell) -> None:
        if plan.vm is None and not plan.spec.template:
            tell(f"{plan.node.node} downloads {plan.image.url}", 0)
            self._node.images.ensure_image(plan.spec.image_storage, plan.image)

    def _ensure_vm(self, plan: VmPlan, tell: Tell) -> None:
        vm = self._node.vms.named(plan.spec.name)
        vmid = self._make(plan, tell) if vm is None else self._change(plan, vm)
        self._node.vms.grow_disk(vmid, SYSTEM_DISK, plan.spec.disk_gib)

    def _make(self, plan: VmPlan, tell: Tell) -> int:
        self._node.claims.ensure_pool()
        identity = new_identity(secrets.token_hex(16))
        spec = plan.spec
        image = f"{spec.image_storage}:import/{plan.image.file_name}"
        file_name = seed_file_name(spec.name, identity.uuid)
        tell("uploading the first boot's ISO", 0)
        seed = self._node.images.upload_seed(spec.seed_storage, file_name, seed_iso(self._seed(identity)))
        tell(f"making the VM on {plan.node.node}", 0)
        try:
            return self._node.claims.claim(
                spec.name,
                identity.uuid,
                candidate_ids(spec),
                lambda vmid: creation(
                    spec, vmid, identity, image=image, seed=seed, acceleration=plan.acceleration
                ),
            )
        except LocalaiError:
            with suppress(LocalaiError):
                self._node.images.remove(spec.seed_storage, seed)
            raise

    def _seed(self, identity: VmIdentity) -> Seed:
        spec = self.wish.spec
        return Seed(
            instance_id=identity.uuid,
            hostname=spec.name,
            user=spec.user,
            mac=identity.mac,
            authorized_keys=check_public_keys(self.wish.authorized_keys),
            static=spec.static,
            apt_mirror=self.wish.mirrors.apt_archive(self._os_id),
        )

    @property
    def _os_id(self) -> str:
        system = self.wish.image.system
        return system.os_id if system else "debian"

    def _change(self, plan: VmPlan, vm: VmFacts) -> int:
        card = parse_network_device(str(vm.config["net0"]))
        spec = plan.spec
        wanted = {
            "cores": spec.cores,
            "memory": spec.memory_mib,
            "net0": str(replace(card, bridge=spec.bridge, vlan=spec.vlan)),
        }
        now = {**vm.config, "net0": str(card), "cores": vm.config.get("cores", 1)}
        values = {key: value for key, value in wanted.items() if str(now.get(key, "")) != str(value)}
        if vm.block.unfinished:
            values |= finishing(vm.block)
        if values:
            self._node.vms.change(vm.vmid, values, str(vm.config["digest"]))
        return vm.vmid

    def _ensure_up(self, tell: Tell) -> None:
        vm = self._mine()
        if vm.running and vm.pending:
            tell("shutting down, so that new values hold", 0)
            self._node.vms.stop(vm.vmid)
        tell("starting", 0)
        self._node.vms.start(vm.vmid)
        guest = self._log_in(vm, tell)
        if vm.seed:
            tell("waiting for the end of the first boot", 0)
            await_first_boot(guest, vm.vmid, self._patience)
            self._take_seed_away(vm)

    def _log_in(self, vm: VmFacts, tell: Tell) -> Executor:
        address = await_address(self._node.vms, vm, self._patience, tell)
        learn_host_key(self._node.vms, vm, self._patience, tell)
        self.close()
        host = SshHost(self.name, guest_connection(self.wish, vm, address), self._password)
        guest = await_login(host.connect, self._patience, tell)
        self._host = host
        return guest

    def _take_seed_away(self, vm: VmFacts) -> None:
        """A guest that keeps the drive lets go of it when it is next switched off."""
        gone = self._node.vms.detach(vm.vmid, SEED_DRIVE)
        if not gone:
            self.left_over.append(f"VM {vm.vmid} keeps {SEED_DRIVE} until it is next shut down")
        self._remove_seed(vm.seed)

    def _remove_seed(self, volume: str) -> None:
        storage = volume.partition(":")[0]
        try:
            self._node.images.remove(storage, volume)
        except LocalaiError as error:
            text = f"{volume} stays on node {self._node.name} ({error.what}); there: pvesm free {volume}"
            self.left_over.append(text)

    @property
    def _patience(self) -> Patience:
        return Patience(self.wish.first_boot_timeout_s)

    def _mine(self) -> VmFacts:
        vm = self._node.vms.named(self.wish.spec.name)
        if vm is None:
            raise LocalaiError(
                "vm-missing",
                f"no VM of ours on {self._node.name} is named {self.wish.spec.name}",
                hint="localai-deploy status --node NODE lists what is ours there",
            )
        return vm

    def connect(self) -> Executor:
        """Find the guest's address and key through its node, then log in."""
        if self._host is None:
            vm = self._mine()
            if not vm.running:
                raise LocalaiError(
                    "vm-stopped",
                    f"VM {vm.vmid} ({self.name}) is {vm.status}",
                    hint=f"up starts it; on the node: qm start {vm.vmid}",
                )
            if not vm.address:
                raise LocalaiError(
                    "guest-agent-missing",
                    f"the guest agent of VM {vm.vmid} ({self.name}) does not answer",
                    hint="the guest may still be booting: try again in a minute",
                )
            return self._log_in(vm, _silent)
        return self._host.connect()

    def observe(self) -> HostFacts:
        """One round trip to the guest."""
        return self._guest().observe()

    def hold(self) -> AbstractContextManager[None]:
        """Lock the guest itself, so that runs from two machines see each other."""
        return self._hold()

    @contextmanager
    def _hold(self) -> Iterator[None]:
        with self._guest().hold():
            yield

    def require_held(self) -> None:
        """Ask the process in the guest that holds the lock."""
        if self._host is not None:
            self._host.require_held()

    def inventory_variables(self, *, shared: bool = True) -> dict[str, Any]:
        """As for any host over SSH."""
        return self._guest().inventory_variables(shared=shared)

    def _guest(self) -> SshHost:
        if self._host is None:
            self.connect()
        assert self._host is not None, "connect() logs in"  # noqa: S101
        return self._host

    def destroy(self) -> None:
        """Delete the VM with its disks, and seeds of its name that were left over."""
        vm = self._mine()
        self.close()
        self._node.vms.delete(vm.vmid)
        leftovers = {one for one in self._node.facts().seeds if seed_volume_name(one) == vm.block.name}
        for volume in sorted(leftovers):
            self._remove_seed(volume)

    def close(self) -> None:
        """End the connection to the guest."""
        if self._host is not None:
            self._host.close()
            self._host = None
