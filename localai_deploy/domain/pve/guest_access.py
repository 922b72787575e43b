"""How a VM's guest is reached without its node being asked: what an inventory keeps for plain Ansible."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GuestAccess:
    """One guest as its node told it.

    :param alias: the name under which its SSH key is known (:attr:`.vm.VmIdentity.host_key_alias`).
    :param host_key: type and key as a known_hosts line has them.
    :param private_key_file: the key to log in with; empty leaves it to ssh.
    :param ssh_args: further words for ssh that lead to the guest.
    """

    address: str
    user: str
    alias: str
    host_key: str
    private_key_file: str = ""
    ssh_args: tuple[str, ...] = ()
