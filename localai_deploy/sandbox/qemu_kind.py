"""Guests that are virtual machines, under KVM where a kernel boots under it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localai_deploy.sandbox.acceleration import kvm_boots
from localai_deploy.sandbox.archive import own_archive
from localai_deploy.sandbox.bodies import Bodies, Surroundings
from localai_deploy.sandbox.cache import Cache
from localai_deploy.sandbox.qemu_body import QemuBodies
from localai_deploy.sandbox.resume_body import ResumeBodies
from localai_deploy.sandbox.ways_out import guest_network


@contextmanager
def qemu_bodies(around: Surroundings) -> Iterator[Bodies]:
    """Virtual machines by QEMU."""
    archive = around.settings.debian_mirror or own_archive()
    with guest_network(around, archive) as network:
        kvm = kvm_boots(Cache(Path(around.settings.cache)).saved_guests)
        yield Bodies(QemuBodies(around.folder / "guests", network, kvm), network.ssh_args, kvm)


@contextmanager
def resume_bodies(around: Surroundings) -> Iterator[Bodies]:
    """Virtual machines by QEMU that begin as a saved one."""
    archive = around.settings.debian_mirror or own_archive()
    cache = Cache(Path(around.settings.cache)).saved_guests
    with guest_network(around, archive) as network:
        kvm = kvm_boots(cache)
        bodies = ResumeBodies(around.folder / "guests", network, cache, kvm)
        yield Bodies(bodies, network.ssh_args, kvm)
