"""Two machines of one name: Ansible takes them for one host, and the last address wins."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from localai_deploy.errors import InputError
from localai_deploy.inventory.sources import Place, Sources

_CONNECTION = ("ansible_host", "ansible_port", "ansible_user")
"""What two entries of one name must not say differently."""


def twins(files: Sources) -> Iterator[tuple[str, Place, InputError]]:
    """Hosts whose entries say differently how they are reached; of several inventories the later one wins."""
    said: dict[tuple[str, str], tuple[str, Place]] = {}
    for file in reversed(list(files.listing())):
        for host, variable, value, position in file.said_of_hosts(_CONNECTION):
            place = files.place(file.path, *position)
            before, where = said.setdefault((host, variable), (value, place))
            if before != value and len(files.inventories) == 1:
                yield host, place, _two_machines(host, variable, (value, place), (before, where))


def refuse_twins(files: Sources, hosts: Collection[str]) -> None:
    """Refuse a host that could be either of two machines.

    :raises InputError: ``inventory-name-twice``.
    """
    for host, _, error in twins(files):
        if host in hosts:
            raise error


def _two_machines(host: str, variable: str, here: tuple[str, Place], there: tuple[str, Place]) -> InputError:
    return InputError(
        "inventory-name-twice",
        f"{here[1]}: two hosts are called {host}",
        why=f"{variable} is {here[0]} here and {there[0]} in {there[1]}; Ansible takes them for one host",
        hint="give one of them another name",
    )
