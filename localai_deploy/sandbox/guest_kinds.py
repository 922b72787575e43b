"""Guests with a system of their own: what is built before the first one, their network and its ways out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from localai_deploy.sandbox.acceleration import kvm_boots
from localai_deploy.sandbox.archive import date_settings, own_archive
from localai_deploy.sandbox.bodies import Bodies, Surroundings
from localai_deploy.sandbox.cache import Cache
from localai_deploy.sandbox.container_body import ContainerBodies
from localai_deploy.sandbox.debian_root import debian_sources, ensure_root
from localai_deploy.sandbox.gateway import Gateway
from localai_deploy.sandbox.guest_root import SUITE, guest_recipe
from localai_deploy.sandbox.guest_trust import trust_files
from localai_deploy.sandbox.network import GuestNetwork
from localai_deploy.sandbox.process_group import own_group
from localai_deploy.sandbox.qemu_body import QemuBodies
from localai_deploy.sandbox.settings import Forward, Settings
from localai_deploy.sandbox.sweeping import kernel_prefix

_HOSTS = {"127.0.0.1": "localhost", "::1": "localhost ip6-localhost ip6-loopback"}
_PORTS = {"http": 80, "https": 443}


@contextmanager
def container_bodies(around: Surroundings) -> Iterator[Bodies]:
    """Systemd containers over one Debian root."""
    archive = around.settings.debian_mirror or own_archive()
    with own_group(kernel_prefix(around.token)), _network(around, archive) as network:
        root = _container_root(around, archive)
        files = {
            "etc/apt/sources.list.d/debian.sources": debian_sources(archive, SUITE),
            "etc/hosts": _hosts(around.settings, archive, network.gateway),
        }
        if around.settings.guest_ca:
            files |= trust_files(Path(around.settings.guest_ca), root)
        bodies = ContainerBodies(around.folder / "guests", network, root, files)
        try:
            yield Bodies(bodies, network.ssh_args)
        finally:
            bodies.close()


def _container_root(around: Surroundings, archive: str) -> Path:
    recipe = guest_recipe(date_settings())
    cache = Cache(Path(around.settings.cache)).container_root

    def sources() -> str:
        around.say(f"building the guests' Debian system from {archive} (a minute or two, kept in {cache})")
        return debian_sources(archive, SUITE)

    return ensure_root(cache, recipe, sources)


@contextmanager
def qemu_bodies(around: Surroundings) -> Iterator[Bodies]:
    """Virtual machines by QEMU."""
    archive = around.settings.debian_mirror or own_archive()
    with own_group(kernel_prefix(around.token)), _network(around, archive) as network:
        around.say("trying whether a kernel boots under KVM here")
        kvm = kvm_boots(Cache(Path(around.settings.cache)).saved_guests)
        yield Bodies(QemuBodies(around.folder / "guests", network, kvm), network.ssh_args, kvm)


@contextmanager
def _network(around: Surroundings, archive: str) -> Iterator[GuestNetwork]:
    """The guests' network, with a way to the archive and to each forwarded address."""
    network = GuestNetwork(kernel_prefix(around.token), around.folder / "network")
    with ExitStack() as stack:
        stack.callback(network.remove)
        network.create()
        ways = (*around.settings.parsed_forwards(), *_ways_to(archive))
        for host, port in sorted({(way.host, way.port) for way in ways}):
            inside = host if _is_address(host) else network.gateway
            if inside == host:
                network.answer_for(host)
            stack.enter_context(Gateway(network.namespace, (inside, port), (host, port)))
        yield network


def _ways_to(archive: str) -> list[Forward]:
    parts = urlsplit(archive)
    return [Forward(parts.hostname or "", parts.port or _PORTS[parts.scheme])]


def _hosts(settings: Settings, archive: str, gateway: str) -> str:
    """``/etc/hosts`` of guests: the names of forwarded addresses, and the archive's where it is a name."""
    named = [(forward.host, forward.name) for forward in settings.parsed_forwards() if forward.name]
    named += [(gateway, way.host) for way in _ways_to(archive) if not _is_address(way.host)]
    lines = dict.fromkeys((*_HOSTS.items(), *named))
    return "".join(f"{address}\t{names}\n" for address, names in lines)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
