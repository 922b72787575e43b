"""From a VM that was just switched on to a host that can be logged in to.

What the node tells through the guest agent comes over the API's verified TLS: the guest's address, and
its SSH host key, which is thus known before the first SSH connection.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.pve.facts import VmFacts
from localai_deploy.domain.pve.network import first_card, guest_address
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.client import TRANSIENT
from localai_deploy.proxmox.vms import VmStore
from localai_deploy.targets import host_keys
from localai_deploy.targets.base import Tell
from localai_deploy.targets.executor import Executor
from localai_deploy.targets.openssh import known_hosts_file

HOST_KEY_FILE = "/etc/ssh/ssh_host_ed25519_key.pub"
LOGIN_TIMEOUT_S = 120.0
LOOK_TIMEOUT_S = 15.0
"""Patience with a guest that is said to be up."""
_PAUSE_S = 1.0
_LOG = "/var/log/cloud-init-output.log"
_SWITCH_OFF = "test ! -d /etc/cloud || touch /etc/cloud/cloud-init.disabled"
_GROW = """set -e
root=$(findmnt -n -o SOURCE /)
number=$(cat "/sys/class/block/${root##*/}/partition" 2>/dev/null) || exit 0
disk=$(lsblk -n -o PKNAME "$root" | head -n 1)
growpart "/dev/$disk" "$number" || test $? -eq 1
case $(findmnt -n -o FSTYPE /) in
  ext4) resize2fs "$root" ;;
  xfs) xfs_growfs / ;;
  btrfs) btrfs filesystem resize max / ;;
esac
"""
"""growpart ends with 1 when there is nothing to grow."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait; clock and sleep are given, so that tests wait 0 s."""

    timeout_s: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def await_address(vms: VmStore, vm: VmFacts, patience: Patience, tell: Tell) -> str:
    """Wait until the guest agent answers and reports net0's address.

    :raises LocalaiError: ``guest-stopped``, ``guest-agent-missing``, ``guest-no-address``.
    """
    deadline = patience.clock() + patience.timeout_s
    looks, answered = 0, False
    while True:
        try:
            address = _told_address(vms, vm)
            if address:
                return address
            answered, lost = answered or address is not None, None
        except LocalaiError as error:
            if error.error_id == "pve-vm-stopped":
                raise _stopped(vm.vmid) from error
            if error.error_id not in TRANSIENT:
                raise
            lost = error
        if patience.clock() >= deadline:
            why = _no_address if answered else _no_agent
            raise lost or why(vm, patience.timeout_s)
        looks += 1
        tell("waiting for an address" if answered else "waiting for the guest agent", looks)
        patience.sleep(_PAUSE_S)


def _told_address(vms: VmStore, vm: VmFacts) -> str | None:
    """What the agent says of net0, empty when it knows no address yet; ``None`` while the agent is silent."""
    try:
        return guest_address(vms.agent(vm.vmid, "network-get-interfaces"), first_card(vm.config).mac)
    except LocalaiError as error:
        if error.error_id == "pve-agent-silent":
            return None
        raise


def learn_host_key(vms: VmStore, vm: VmFacts, patience: Patience, tell: Tell) -> None:
    """Read the guest's public host key through its agent and make it the known one of this VM.

    :raises LocalaiError: ``guest-host-key-missing``.
    """
    deadline = patience.clock() + patience.timeout_s
    looks = 0
    while True:
        try:
            words = vms.read_file(vm.vmid, HOST_KEY_FILE).split()
        except LocalaiError as error:
            if error.error_id == "pve-vm-stopped":
                raise _stopped(vm.vmid) from error
            if error.error_id in {"pve-forbidden", "pve-auth-failed"}:
                raise
            words = []
        if len(words) >= 2 and words[0] == "ssh-ed25519":
            host_keys.keep(host_keys.HostKey(vm.identity.host_key_alias, words[0], words[1]))
            return
        if patience.clock() >= deadline:
            raise LocalaiError(
                "guest-host-key-missing",
                f"VM {vm.vmid} has no {HOST_KEY_FILE}",
                why="its SSH server's key is read through the guest agent before anybody logs in",
                hint=f"look at the guest's console: qm terminal {vm.vmid}",
                exit_code=ExitCode.PARTIAL,
            )
        looks += 1
        tell("waiting for the guest's SSH host key", looks)
        patience.sleep(_PAUSE_S)


def guest_connection(wish: VmWish, vm: VmFacts, address: str) -> Connection:
    """How to log in to the guest: its key is known under the VM's own name, not under the address."""
    return Connection(
        kind="ssh",
        destination=address,
        user=wish.spec.user,
        private_key_file=wish.private_key_file,
        ssh_args=(
            *wish.node.guest_ssh_args,
            *("-o", f"UserKnownHostsFile={known_hosts_file()}"),
            *("-o", f"HostKeyAlias={vm.identity.host_key_alias}"),
        ),
    )


def await_login(
    connect: Callable[[], Executor], patience: Patience, tell: Tell, *, booting: bool = True
) -> Executor:
    """Log in as soon as the guest's SSH server lets us.

    :param booting: the guest may turn everybody away for a moment; else a refused key stays refused.
    :raises LocalaiError: what the last try met.
    """
    deadline = patience.clock() + min(LOGIN_TIMEOUT_S, patience.timeout_s)
    passing = {"host-unreachable", *(["ssh-auth-failed"] if booting else [])}
    looks = 0
    while True:
        try:
            return connect()
        except LocalaiError as error:
            if error.error_id not in passing or patience.clock() >= deadline:
                raise
        looks += 1
        tell("waiting for the guest's SSH server", looks)
        patience.sleep(_PAUSE_S)


def await_first_boot(guest: Executor, vmid: int, patience: Patience) -> None:
    """Wait until cloud-init has ended, and switch it off; a guest without it has nothing to wait for.

    Without its seed cloud-init could take the next boot for the first one of another machine, and make
    new SSH host keys.

    :raises LocalaiError: ``guest-first-boot-failed``.
    """
    program = "command -v cloud-init >/dev/null || exit 0; cloud-init status --wait >/dev/null; echo $?"
    done = guest.run(["sh", "-c", program], timeout_s=patience.timeout_s)
    if done.stdout.decode(errors="replace").strip() != "1":
        guest.run(["sh", "-c", _SWITCH_OFF], sudo=True)
        return
    log = guest.run(["tail", "-n", "8", _LOG], sudo=True).stdout.decode(errors="replace").strip()
    raise LocalaiError(
        "guest-first-boot-failed",
        f"the first boot of VM {vmid} ended with errors",
        why=log or "cloud-init says no more",
        hint=f"in the guest: cloud-init status --long; {_LOG}",
        exit_code=ExitCode.PARTIAL,
    )


def _stopped(vmid: int) -> LocalaiError:
    return LocalaiError(
        "guest-stopped",
        f"VM {vmid} stopped while its guest was waited for",
        hint=f"run again: it is started anew; its console tells more: qm terminal {vmid}",
        exit_code=ExitCode.PARTIAL,
    )


def _no_agent(vm: VmFacts, timeout_s: float) -> LocalaiError:
    return LocalaiError(
        "guest-agent-missing",
        f"the guest agent of VM {vm.vmid} did not answer within {timeout_s:.0f} s",
        why="the first boot installs it by apt: without a network, or with a slow one, it does not come",
        hint=(
            f"look at the guest's console: qm terminal {vm.vmid}\n"
            "then run again: the VM is kept, and waited for once more (localai_first_boot_timeout_s)"
        ),
        exit_code=ExitCode.PARTIAL,
    )


def _no_address(vm: VmFacts, timeout_s: float) -> LocalaiError:
    return LocalaiError(
        "guest-no-address",
        f"VM {vm.vmid} got no address within {timeout_s:.0f} s",
        why=f"its agent answers, but reports none for {vm.identity.mac}",
        hint="does the bridge's network have a DHCP server? else set localai_address and localai_gateway",
        exit_code=ExitCode.PARTIAL,
    )


def grow_root(guest: Executor, vmid: int) -> None:
    """Let the guest use all of a disk that was grown; again and again without harm.

    :raises LocalaiError: ``guest-disk-not-grown``.
    """
    done = guest.run(["sh", "-c", _GROW], sudo=True)
    if done.returncode != 0:
        raise LocalaiError(
            "guest-disk-not-grown",
            f"the guest of VM {vmid} does not use all of its disk",
            why=done.stderr.decode(errors="replace").strip()[-500:],
            hint="in the guest: lsblk; growpart (package cloud-guest-utils), then resize2fs",
            exit_code=ExitCode.PARTIAL,
        )
