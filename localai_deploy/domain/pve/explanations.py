"""Findings about a node and errors of making a VM and of its first boot."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "pve-bridge-missing": Explanation(
        title="The node has no bridge of that name",
        cause="Another name in the inventory, or a bridge that was not applied yet.",
        detection="GET /nodes/N/network lists the bridges that the token may use.",
        fix="Name one with --bridge; without SDN.Use on it a token does not see a bridge.",
    ),
    "pve-cores-short": Explanation(
        title="The node has fewer CPUs than the VM is to have",
        cause="Proxmox makes such a VM and then refuses to start it.",
        detection="GET /nodes/N/status.",
        fix="Ask for fewer with --cores.",
    ),
    "pve-memory-short": Explanation(
        title="The node has too little memory free",
        cause="The VM gets its memory as a whole: there is no balloon, and a card's VM is pinned.",
        detection="GET /nodes/N/status.",
        fix="Ask for less with --memory, or shut another VM down.",
    ),
    "pve-storage-inactive": Explanation(
        title="A storage is not active on the node",
        cause="It is disabled, or what it lies on is not mounted.",
        detection="GET /nodes/N/storage.",
        fix="On the node: pvesm status; mount it or enable it.",
    ),
    "pve-no-space": Explanation(
        title="A storage of the node has too little room",
        cause="Disk or image would fill it; Proxmox looks only when it is too late.",
        detection="GET /nodes/N/storage, before anything is made.",
        fix="Make room, name another storage, or ask for a smaller --disk.",
    ),
    "pve-import-missing": Explanation(
        title="The node cannot import disk images by API",
        cause="Storages take content 'import' from Proxmox VE 8.4 on.",
        detection="GET /version.",
        fix=(
            "Upgrade the node; or make a template there once (qm create, qm importdisk, qm template) and "
            "name its id with localai_template."
        ),
    ),
    "pve-image-unreachable": Explanation(
        title="The node cannot fetch the disk image",
        cause="No way from the node to the image's server, or no such file there any more.",
        detection="GET /nodes/N/query-url-metadata, before anything is made.",
        fix="Check the node's network and DNS; localai_mirrors.images names a mirror of your own.",
    ),
    "pve-pool-missing": Explanation(
        title="Pool localai is not there",
        cause="Our VMs lie in a pool of their own, so that the token reaches no others.",
        detection="GET /pools/localai.",
        fix="Once, on the node: pveum pool add localai (localai-deploy node permissions N --role setup).",
    ),
    "vm-name-taken": Explanation(
        title="Another VM has that name",
        cause="A VM that is not ours: no block of ours in its description, or one of another VM.",
        detection="GET /cluster/resources.",
        fix="Choose another name with --name.",
    ),
    "vm-disk-larger": Explanation(
        title="The VM's disk is larger than what is asked for",
        cause="It was grown by hand, or the setting was made smaller.",
        detection="The VM's config.",
        fix="Set localai_disk_gib to its size; a disk is never made smaller.",
    ),
    "vm-held": Explanation(
        title="Another run is making a VM of that name",
        cause="Two runs at once; the server gave the id, which follows from the name, to the other one.",
        detection="The create was refused, and the VM that has the id is ours and has the name.",
        fix="Wait for the other run, then run again: it goes on with that VM.",
    ),
    "vm-half-made": Explanation(
        title="A VM was begun, never became whole, and runs",
        cause="A run was cut off between the create and the VM's tag; somebody started the VM since.",
        detection="Its block says that it was only begun, and its status is not stopped.",
        fix="Shut it down and run again: the VM is made whole. Or delete it: qm destroy VMID.",
    ),
    "vm-disk-missing": Explanation(
        title="The VM has no system disk where it is expected",
        cause="It was cloned from a template whose system lies on another slot, or the disk was moved.",
        detection="The VM's config has no scsi0.",
        fix="On the node: qm config VMID; give a template its system on scsi0.",
    ),
    "vm-create-cut-off": Explanation(
        title="A VM holds only the lock of its create",
        cause="The node lost power while it made the VM. Nothing in it tells whose it was.",
        detection="GET /cluster/resources: lock create or clone, and no such task is at work.",
        fix="If no run is making it now, on the node: qm unlock VMID; qm destroy VMID.",
    ),
    "vm-missing": Explanation(
        title="No VM of ours has that name",
        cause="It was deleted, or it is not ours any more: pool, tag and block must all fit.",
        detection="The VMs of pool localai were looked at.",
        fix="localai-deploy status --node N lists what is ours there.",
    ),
    "vm-stopped": Explanation(
        title="The VM does not run",
        cause="Somebody shut it down, or the node was restarted and did not start it.",
        detection="GET /nodes/N/qemu/VMID/status/current.",
        fix="up starts it; or on the node: qm start VMID.",
    ),
    "guest-stopped": Explanation(
        title="The guest went down while it was waited for",
        cause="It crashed, was stopped by somebody, or the node ran out of memory.",
        detection="The VM's status changed while its agent was waited for.",
        fix="Look at the guest's console (qm terminal VMID), then run again.",
    ),
    "guest-agent-missing": Explanation(
        title="The guest agent does not answer",
        cause=(
            "Stock images have none: the first boot installs it by apt, which takes a network. A later boot "
            "may simply not be over yet."
        ),
        detection="The node's calls to the agent went unanswered for the whole time-out.",
        fix="Look at its console (qm terminal VMID); give it more time: localai_first_boot_timeout_s.",
    ),
    "guest-no-address": Explanation(
        title="The guest got no address",
        cause="No DHCP server on the bridge's network or VLAN.",
        detection="The agent answers, but reports no address for the MAC of net0.",
        fix="Set localai_address and localai_gateway, or another bridge or VLAN.",
    ),
    "guest-host-key-missing": Explanation(
        title="The guest's SSH host key cannot be read",
        cause="Its SSH server never started, or has no ed25519 key.",
        detection="/etc/ssh/ssh_host_ed25519_key.pub was asked for through the agent.",
        fix="Look at the guest's console (qm terminal VMID).",
    ),
    "guest-first-boot-failed": Explanation(
        title="The guest's first boot ended with errors",
        cause="Mostly a package that could not be installed: no way to the archive.",
        detection="cloud-init status in the guest says error.",
        fix="In the guest: cloud-init status --long; /var/log/cloud-init-output.log. Then run again.",
    ),
    "guest-disk-not-grown": Explanation(
        title="The guest does not use all of its disk",
        cause="The VM's disk was grown; the guest has no growpart, or an unusual layout.",
        detection="growpart and the file system's own tool were run in the guest.",
        fix="In the guest: lsblk; growpart (package cloud-guest-utils), then resize2fs. Then run again.",
    ),
    "card-held": Explanation(
        title="Another VM has the card",
        cause="A card is one VM's at a time: one runs with it, has its lease, or is getting it.",
        detection=(
            "The configs of the node's VMs, the lease in the description of the card's mapping, and the "
            "node itself, which starts no second VM with a card."
        ),
        fix="localai-deploy gpu list shows who has it; gpu move gives it to another, gpu release frees it.",
    ),
    "vm-unknown": Explanation(
        title="The node has no such VM",
        cause="A typo, or a VM that the token may not see.",
        detection="GET /cluster/resources.",
        fix="Name one that the message lists; VM.Audit on /vms/VMID lets a token see a VM that is not ours.",
    ),
    "vm-name-ambiguous": Explanation(
        title="Several VMs have that name",
        cause="Proxmox lets names repeat.",
        detection="GET /cluster/resources.",
        fix="Name the VM by its id.",
    ),
    "vm-config-full": Explanation(
        title="The VM has as many passthrough devices as it can have",
        cause="hostpci0 to hostpci15 are taken.",
        detection="The VM's config.",
        fix="Take one out: qm set VMID --delete hostpciN.",
    ),
    "host-not-made": Explanation(
        title="The host is no VM of ours",
        cause="It was there before us, so it is neither made nor taken away as a whole.",
        detection="Its kind.",
        fix="This is a mistake in this program if you see it: tell its makers.",
    ),
}
