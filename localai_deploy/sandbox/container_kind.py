"""Guests that are containers: their Debian root is built before the first one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localai_deploy.sandbox.archive import own_archive
from localai_deploy.sandbox.bodies import Bodies, Surroundings
from localai_deploy.sandbox.cache import Cache
from localai_deploy.sandbox.container_body import ContainerBodies
from localai_deploy.sandbox.debian_root import apt_date_settings, debian_sources, ensure_root
from localai_deploy.sandbox.guest_root import SUITE, guest_recipe
from localai_deploy.sandbox.guest_trust import trust_files
from localai_deploy.sandbox.ways_out import guest_network, hosts_file


@contextmanager
def container_bodies(around: Surroundings) -> Iterator[Bodies]:
    """Systemd containers over one Debian root."""
    archive = around.settings.debian_mirror or own_archive()
    with guest_network(around, archive) as network:
        root = _container_root(around, archive)
        files = {
            "etc/apt/sources.list.d/debian.sources": debian_sources(archive, SUITE),
            "etc/hosts": hosts_file(around.settings, archive, network.gateway),
        }
        if around.settings.guest_ca:
            files |= trust_files(Path(around.settings.guest_ca), root)
        bodies = ContainerBodies(around.folder / "guests", network, root, files)
        try:
            yield Bodies(bodies, network.ssh_args)
        finally:
            bodies.close()


def _container_root(around: Surroundings, archive: str) -> Path:
    recipe = guest_recipe(apt_date_settings())
    cache = Cache(Path(around.settings.cache)).container_root

    def sources() -> str:
        around.say(f"building the guests' Debian system from {archive} (a minute or two, kept in {cache})")
        return debian_sources(archive, SUITE)

    return ensure_root(cache, recipe, sources)
