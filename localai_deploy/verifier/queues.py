"""Which hosts are checked at the same time."""

from __future__ import annotations

from collections.abc import Mapping


def queues_of(places: Mapping[str, str], forks: int) -> list[list[str]]:
    """Distribute hosts over at most ``forks`` queues; hosts of one place wait for one another.

    :param places: host → the machine that its speed depends on: two VMs of one node would slow each other
        down while they are measured.
    """
    together: dict[str, list[str]] = {}
    for host, place in places.items():
        together.setdefault(place, []).append(host)
    queues: list[list[str]] = [[] for _ in range(min(forks, len(together)))]
    for hosts in sorted(together.values(), key=len, reverse=True):
        min(queues, key=len).extend(hosts)
    return queues
