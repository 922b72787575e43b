"""The server's own words → our error ids; the first rule that fits wins."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Words of the server, the error they mean, and what to do about it."""

    pattern: re.Pattern[str]
    error_id: str
    hint: str

    def fits(self, text: str) -> bool:
        """Whether the server's words are these."""
        return self.pattern.search(text) is not None


def _rule(pattern: str, error_id: str, hint: str) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE), error_id, hint)


_NODES = "pvesh get /nodes lists the nodes"
_STORAGES = "pvesm status on the node lists its storages"
_MAPPINGS = "pvesh get /cluster/mapping/pci lists the mappings"
_AGAIN = "somebody changed it at the same moment: run again"

RULES: tuple[Rule, ...] = (
    _rule(
        r"only root can set 'hostpci\d+' config",
        "pve-hostpci-root",
        "use a resource mapping: no API token may set a raw PCI address",
    ),
    _rule(
        r"only root(@pam)? (can|may)\b",
        "pve-root-only",
        "the node lets only root@pam with a password do that, no API token: leave the option out",
    ),
    _rule(r"no quorum", "pve-no-quorum", "bring the other nodes back"),
    # VMs
    _rule(
        r"unable to create VM \d+: config file already exists|\bVM \d+ already exists",
        "pve-vmid-taken",
        "another run was faster: the next free id is taken",
    ),
    _rule(r"VM is locked \((\w+)\)", "pve-vm-locked", "wait for that job, or unlock the VM: qm unlock VMID"),
    _rule(
        r"can't lock file '[^']+' - got timeout|cfs-lock '[^']+' error",
        "pve-busy",
        "another job holds it: wait for it, then run again",
    ),
    _rule(
        r"checksum miss?match \(file change by other user|detected modified configuration",
        "pve-config-changed",
        _AGAIN,
    ),
    _rule(
        r"Configuration file '.*' does not exist|unable to find configuration file for VM",
        "pve-vm-missing",
        "qm list on the node lists its VMs",
    ),
    _rule(
        r"VM \d+ is running - destroy failed|VM \d+ already running",
        "pve-vm-running",
        "shut the VM down first",
    ),
    _rule(r"VM \d+ (is )?not running", "pve-vm-stopped", "start the VM first"),
    _rule(
        r"protection mode enabled",
        "pve-vm-protected",
        "switch the VM's protection off (Options, Protection) if it is really to go",
    ),
    _rule(
        r"can't start a vm if it's a template|still in use by linked clone",
        "pve-vm-template",
        "a template cannot be started, and not deleted while linked clones use it",
    ),
    _rule(
        r"VM quit/powerdown failed",
        "pve-shutdown-timeout",
        "the guest does not power off: look at its console, or stop it",
    ),
    _rule(
        r"hotplug problem",
        "pve-hotplug-refused",
        "the guest holds the device: shut the VM down, then run again",
    ),
    _rule(
        r"No QEMU guest agent configured|QEMU guest agent is not running",
        "pve-agent-silent",
        "the guest may still be booting: wait, or look at its console",
    ),
    _rule(
        r"snapshot (name )?'[^']*' (already used|does not exist)|snapshot feature is not available",
        "pve-snapshot-refused",
        "qm listsnapshot VMID lists the snapshots",
    ),
    # devices
    _rule(r"already in use by VMID '(\d+)'", "pve-card-in-use", "shut that VM down first"),
    _rule(
        r"could not find a free device for 'hostpci", "pve-card-in-use", "all cards of the mapping are in use"
    ),
    _rule(
        r"PCI device mapping invalid",
        "pve-mapping-changed",
        "the hardware is not what the mapping says: map the card anew",
    ),
    _rule(
        r"PCI device mapping not found|mapping '[^']*' not found|pci ID '[^']*' does not exist",
        "pve-mapping-missing",
        _MAPPINGS,
    ),
    _rule(r"pci ID '[^']*' already defined", "pve-mapping-taken", _MAPPINGS),
    _rule(
        r"KVM virtualisation configured, but not available",
        "pve-no-kvm",
        "switch virtualisation on in the firmware (VT-x, AMD-V)",
    ),
    _rule(r"IOMMU not present", "iommu-off", "localai-deploy explain iommu-off"),
    _rule(r"bridge '[^']*' does not exist", "pve-bridge-missing", "name one of the node's with --bridge"),
    _rule(
        r"vcpus allowed per VM on this node",
        "pve-cores-short",
        "ask for no more cores than the node has CPUs",
    ),
    _rule(
        r"Cannot allocate memory",
        "pve-memory-short",
        "ask for less memory, or shut another VM down",
    ),
    # storages and images
    _rule(
        r"No space left on device|insufficient free space|out of space|not enough free space",
        "pve-storage-full",
        "make room on that storage, or name another one",
    ),
    _rule(r"storage '([^']+)' does not exist|No such storage", "pve-storage-missing", _STORAGES),
    _rule(
        r"storage '[^']+' is disabled|storage '[^']+' is not available on node|unable to activate storage|"
        r"storage '[^']+' is not online",
        "pve-storage-unavailable",
        _STORAGES,
    ),
    _rule(
        r"does not support vm images|is not configured for content-type|can't upload to storage type",
        "pve-content-missing",
        "on the node: pvesm set STORAGE --content … with what it has and what is missing",
    ),
    _rule(
        r"volume_size_info on '[^']+' failed|(volume|file) '[^']+' does not exist",
        "pve-volume-missing",
        "run again: what is missing is made anew",
    ),
    _rule(
        r"refusing to override existing file|checksum mismatch: got .*, aborting",
        "pve-image-other",
        "another file has that name on the storage: look at it, then remove it there",
    ),
    _rule(
        r"checksum mismatch: got",
        "pve-image-checksum",
        "the image changed upstream, or the checksum is wrong",
    ),
    _rule(
        r"failed to verify file",
        "pve-image-unreadable",
        "the file is no disk image of the kind that its name says",
    ),
    _rule(
        r"download failed:|unable to resolve host address|invalid server response:",
        "pve-download-failed",
        "look whether the node reaches the URL",
    ),
    # cluster, users, tasks
    _rule(r"hostname lookup '([^']+)' failed|no such cluster node", "pve-node-unknown", _NODES),
    _rule(r"no such task", "pve-task-lost", "run again: what is done is seen"),
    _rule(
        r"no worker upid|start worker failed",
        "pve-overloaded",
        "the node could not start the job: look at its load, then run again",
    ),
    _rule(r"interrupted by signal|received interrupt", "pve-task-stopped", "somebody stopped it: run again"),
    _rule(
        r"(role|user|pool|group) '[^']*' already exists|Token already exists",
        "pve-already-there",
        "another run was faster, or it is somebody else's: look at it",
    ),
    _rule(
        r"(role|user|pool|group) '[^']*' does not exist",
        "pve-not-there",
        "pveum user list, pveum role list and pveum pool list tell what there is",
    ),
    _rule(
        r"no options specified|not allowed for linked clones|missing value for required option",
        "pve-bad-parameter",
        "this is a bug of ours",
    ),
    _rule(
        r"start failed: |QEMU exited with code",
        "pve-start-failed",
        "the task's log on the node holds QEMU's own words",
    ),
)


def rule_for(text: str) -> Rule | None:
    """The first rule that fits."""
    return next((rule for rule in RULES if rule.fits(text)), None)
