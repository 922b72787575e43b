"""Look at a node and what there is of a VM on it, through the node's API, and plan."""

from __future__ import annotations

from localai_deploy.domain.plan import Finding
from localai_deploy.domain.pve.facts import BegunVm, NodeFacts, VmFacts
from localai_deploy.domain.pve.ownership import NotedCards
from localai_deploy.domain.pve.planning import VmPlan, plan_vm
from localai_deploy.domain.pve.vm import candidate_ids
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.node import PveNode
from localai_deploy.targets.node import seen_over_ssh


def survey_vm(node: PveNode, wish: VmWish, now: float) -> tuple[VmWish, VmPlan]:
    """The wish, completed by what a VM that is there has recorded, and the plan; nothing is changed.

    A create that an earlier run of ours left at work is waited for. The node's cards are looked at only for
    a VM that is to have one, or has one.

    :param now: seconds since 1970.
    :raises LocalaiError: ``pve-*``, ``tls-*``, ``vm-name-twice``.
    """
    template = wish.spec.template
    node.claims.await_running([*candidate_ids(wish.spec), *([template] if template else [])])
    facts = node.facts()
    vm, begun = _find(node, wish, facts)
    if vm is not None:
        wish = wish.for_vm(vm.block)
    if wish.spec.gpus or (vm is not None and vm.block.noted != NotedCards()):
        facts = node.with_cards(facts)
    hardware, unseen = seen_over_ssh(wish.node_login) if wish.spec.gpus else (None, ())
    plan = plan_vm(
        wish.spec,
        wish.image,
        facts,
        vm,
        has_key=bool(wish.authorized_keys),
        begun=begun,
        problems=unseen if vm or begun else (*unseen, *_image_problems(node, wish, facts)),
        now=now,
        hardware=hardware,
    )
    return wish, plan


def _find(node: PveNode, wish: VmWish, facts: NodeFacts) -> tuple[VmFacts | None, BegunVm | None]:
    """What there is of the VM; a token that may not look is told of all rights at once that it lacks."""
    try:
        return node.vms.find(wish.spec.name)
    except LocalaiError as error:
        if error.error_id != "pve-forbidden":
            raise
        blind = plan_vm(wish.spec, wish.image, facts, None, has_key=True)
        lacking = [one for one in blind.findings if one.finding_id == "pve-rights-missing"]
        raise (lacking[0].as_error() if lacking else error) from error


def _image_problems(node: PveNode, wish: VmWish, facts: NodeFacts) -> tuple[Finding, ...]:
    """Whether the node reaches an image that it has still to download; without the right to ask: none."""
    names = {volume.rpartition("/")[2] for volume in facts.images}
    if wish.spec.template or wish.image.file_name in names:
        return ()
    try:
        node.images.require_reachable(wish.image)
    except LocalaiError as error:
        return (Finding.from_error(error),) if error.error_id == "pve-image-unreachable" else ()
    return ()
