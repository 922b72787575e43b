"""The guests' network with its ways out: to the Debian archive and to whatever else is forwarded."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from localai_deploy.sandbox.bodies import Surroundings
from localai_deploy.sandbox.cache import Cache
from localai_deploy.sandbox.gateway import Gateway
from localai_deploy.sandbox.network import GuestNetwork
from localai_deploy.sandbox.process_group import own_group
from localai_deploy.sandbox.settings import Forward, Settings
from localai_deploy.sandbox.sweeping import kernel_prefix

_HOSTS = {"127.0.0.1": "localhost", "::1": "localhost ip6-localhost ip6-loopback"}
_PORTS = {"http": 80, "https": 443}


@contextmanager
def guest_network(around: Surroundings, archive: str) -> Iterator[GuestNetwork]:
    """The guests' network, with a way to the archive and to each forwarded address.

    What this process starts can be found by its cgroup, and the cache is kept, until the context ends.
    """
    network = GuestNetwork(kernel_prefix(around.token), around.folder / "network")
    with ExitStack() as stack:
        stack.enter_context(own_group(kernel_prefix(around.token)))
        stack.enter_context(Cache(Path(around.settings.cache)).in_use())
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


def hosts_file(settings: Settings, archive: str, gateway: str) -> str:
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
