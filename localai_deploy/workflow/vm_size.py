"""A VM that is still to be made gets memory and disk for what it is to serve."""

from __future__ import annotations

from localai_deploy.domain.pve.planning import VmPlan
from localai_deploy.domain.pve.sizing import VmSize
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.targets.base import Target


def sized(vm: VmPlan | None, wish: VmWish | None, target: Target, least: VmSize) -> VmPlan | None:
    """Plan a VM that is not there yet anew if it is to be larger; ``None``: it stays as planned.

    :param least: what it must have at least; what somebody set wins all the same.
    :raises LocalaiError: as :meth:`Target.survey`.
    """
    if vm is None or wish is None or vm.vm is not None or wish.at_least(least) == wish:
        return None
    return target.survey(least)
