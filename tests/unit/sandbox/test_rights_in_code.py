"""The privilege checks that the server makes in code, one literal expectation per option."""

from __future__ import annotations

import pytest

from localai_deploy.sandbox.vm_rights import CLOUDINIT_OPTIONS, RIGHT_OF_OPTION

# Seen: an option was refused to a token that lacked only this right (recorded: takeaway-vm-existing).
SEEN = {
    "boot": "VM.Config.Disk",
    "cores": "VM.Config.CPU",
    "description": "VM.Config.Options",
    "memory": "VM.Config.Memory",
    "onboot": "VM.Config.Options",
    "tags": "VM.Config.Options",
}
# Seen: refused to every token with "only root can set" (recorded: root-only, locks; proxmox.md).
ROOT_ONLY = ("affinity", "arch", "args", "hookscript", "hugepages", "ivshmem", "lock", "vmgenid")
# Seen: taken from a token without VM.Config.Cloudinit that has VM.Config.Network.
EITHER = ("ciuser", "sshkeys")


@pytest.mark.parametrize(("option", "right"), SEEN.items())
def test_seen_rights(option: str, right: str) -> None:
    assert option in RIGHT_OF_OPTION[right].split()


@pytest.mark.parametrize("option", ROOT_ONLY)
def test_root_only(option: str) -> None:
    assert all(option not in options.split() for options in RIGHT_OF_OPTION.values())
    assert option not in CLOUDINIT_OPTIONS


@pytest.mark.parametrize("option", EITHER)
def test_cloudinit_or_network(option: str) -> None:
    assert option in CLOUDINIT_OPTIONS


def test_no_option_needs_two_rights() -> None:
    options = [option for group in RIGHT_OF_OPTION.values() for option in group.split()]
    assert len(options) == len(set(options))
