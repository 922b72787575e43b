"""A VM through its node's API, until it can be started: image, create, config."""

from __future__ import annotations

import secrets
from dataclasses import replace

from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.domain.pve.vm import Creation, candidate_ids, creation, new_identity
from localai_deploy.domain.pve.vm_changes import config_values, new_description
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.claims import held_by_another_run
from localai_deploy.proxmox.node import PveNode
from localai_deploy.targets.base import Tell
from localai_deploy.targets.seed_volumes import SeedVolumes, seed_volume


def ensure_image(node: PveNode, plan: VmPlan, tell: Tell) -> None:
    """Have the disk image on its storage, if the VM is to be made from one."""
    if not (plan.vm or plan.begun or plan.spec.template):
        tell(f"{plan.node.node} downloads {plan.image.url}", 0)
        node.images.ensure_image(plan.spec.image_storage, plan.image)


def ensure_vm(node: PveNode, seeds: SeedVolumes, wish: VmWish, plan: VmPlan, tell: Tell) -> tuple[int, bool]:
    """Have the VM as it is wanted, its disk's size aside: its vmid, and whether it was there before.

    :raises LocalaiError: ``vm-held``: another run made it since this one looked.
    """
    vm, begun = node.vms.find(plan.spec.name)
    if vm is None:
        is_left = plan.begun is not None and begun is not None
        return _make(node, seeds, wish, plan, begun.vmid if begun and is_left else 0, tell), False
    if plan.vm is None:
        raise held_by_another_run(vm.vmid, plan.spec.name)
    values = config_values(plan.spec, vm)
    block = replace(vm.block, spec=plan.spec.record(), gave=())
    if block.noted != vm.block.noted:
        values["description"] = new_description(vm, block)
    if values:
        node.vms.change(vm.vmid, values, str(vm.config["digest"]))
    return vm.vmid, True


def _make(node: PveNode, seeds: SeedVolumes, wish: VmWish, plan: VmPlan, begun: int, tell: Tell) -> int:
    """Make a VM, or make the one whole that was ``begun``; a seed of an attempt that failed goes again."""
    spec, identity = plan.spec, new_identity(secrets.token_hex(16))
    seed, image = seed_volume(spec, identity), plan.image.volume_on(spec.image_storage)

    def create(vmid: int) -> Creation:
        return creation(spec, vmid, identity, image=image, seed=seed, acceleration=plan.acceleration)

    node.claims.ensure_pool()
    try:
        tell("uploading the first boot's ISO", 0)
        seeds.upload(wish, spec, identity)
        tell(f"making the VM on {plan.node.node}", 0)
        if begun:
            node.claims.finish(begun, spec.name, create(begun))
            return begun
        return node.claims.claim(spec.name, identity.uuid, candidate_ids(spec), create)
    except LocalaiError:
        seeds.drop(seed)
        raise
