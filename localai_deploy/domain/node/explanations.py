"""Findings about a node's cards."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "iommu-off": Explanation(
        title="The node's IOMMU is off",
        cause=(
            "VT-d or AMD-Vi is switched off in the firmware, or an Intel kernel before 6.8 was booted without"
            " intel_iommu=on."
        ),
        detection="The card is in no IOMMU group: the API answers iommugroup -1, sysfs has no groups.",
        fix="Switch it on in the firmware; `node prepare N` sets the kernel's command line. Then reboot.",
    ),
    "iommu-group-shared": Explanation(
        title="The card shares its IOMMU group",
        cause="The board does not keep the slots apart: devices of a group can reach each other's memory.",
        detection="Other functions than the card's own, bridges left aside, are in its group.",
        fix=(
            "Use a slot that hangs on the CPU itself, or give the whole group to the VM by"
            " consent. The ACS override"
            " only hides it."
        ),
    ),
    "host-driver-bound": Explanation(
        title="A driver of the node has the card",
        cause="nouveau, nvidia, amdgpu or a sound driver found it first while the node booted.",
        detection="The function's driver in the node's sysfs is not vfio-pci.",
        fix="localai-deploy node prepare N binds it by address at boot; an equal card stays as it is.",
    ),
    "boot-framebuffer": Explanation(
        title="The node's boot screen holds the card's memory",
        cause=(
            "The firmware showed its messages on this card, and the kernel's frame buffer keeps that memory."
        ),
        detection="BOOTFB, efifb or simpledrm lies in a window of the card in /proc/iomem.",
        fix="Make another display the first one in the firmware, or boot with initcall_blacklist=sysfb_init.",
    ),
    "only-display": Explanation(
        title="The card is the node's only display",
        cause="Nothing else can show the node's console while a VM has it.",
        detection="No other device of class 03 is in the API's list.",
        fix=(
            "Reach the node over the network before you consent; shut the VM down and reboot to"
            " get the console back."
        ),
    ),
    "reset": Explanation(
        title="The card may not survive a restart of its VM",
        cause="The kernel knows no good way to reset it, or it is of a kind that is known to hang.",
        detection="reset_method in sysfs, and lists of AMD's and NVIDIA's generations.",
        fix=(
            "Let the first `up` stop and start the VM once; when the card is dead, only a reboot"
            " of the node helps."
        ),
    ),
    "bar-aperture": Explanation(
        title="The card's memory windows find no room",
        cause=(
            "Its 64-bit BARs are larger than the guest's window for them, or the firmware gave"
            " them no place at all."
        ),
        detection="Sizes and flags in sysfs' resource, against the window that OVMF has for this CPU type.",
        fix="cpu: host; 'Above 4G decoding' in the node's firmware; then OVMF's X-PciMmio64Mb (root only).",
    ),
    "ram-pinned": Explanation(
        title="The node has too little free memory for a VM with a card",
        cause=(
            "A card may write anywhere, so all memory of its VM is held from the start;"
            " ballooning changes nothing."
        ),
        detection="The VM's memory against what the node has free, less a reserve.",
        fix="Give the VM less, or shut another one down.",
    ),
    "cpu-type": Explanation(
        title="The VM's CPU type has no AVX",
        cause="kvm64 and x86-64-v2 leave it out; builds of runtimes use it.",
        detection="The VM's cpu field.",
        fix="cpu: host",
    ),
    "machine-type": Explanation(
        title="The VM's machine cannot have a PCI Express device",
        cause="It is i440fx, Proxmox' default.",
        detection="The VM's machine field; the start would say that the q35 machine model is not enabled.",
        fix="qm set VMID --machine q35 while it is stopped; its network card then has another name inside.",
    ),
    "secure-boot": Explanation(
        title="Secure Boot may refuse the driver",
        cause=(
            "The VM's EFI disk has the keys of Microsoft enrolled; a module built by DKMS is"
            " signed by nobody."
        ),
        detection="pre-enrolled-keys=1 in efidisk0; in the guest mokutil --sb-state.",
        fix="Switch Secure Boot off in the guest's firmware menu, or enroll the key that signs the module.",
    ),
    "card-in-use": Explanation(
        title="Another VM has the card",
        cause="Its configuration names the same card or mapping.",
        detection="hostpci lines of the node's VMs, and which of them run.",
        fix="localai-deploy gpu move CARD --to VM, or shut the other one down.",
    ),
    "pci-renumber": Explanation(
        title="A resource mapping is out of date",
        cause="A card was added or taken out: addresses and IOMMU groups on the bus are numbered anew.",
        detection="The mapping's id, subsystem and group against the hardware at its path.",
        fix="Look which card is meant, then write the mapping anew.",
    ),
    "node-not-rebooted": Explanation(
        title="The node was not booted since it was prepared",
        cause="Kernel parameters and the initramfs count from the next boot on.",
        detection=(
            "Words of the boot loader's files that the running kernel does not have; devices"
            " without vfio-pci."
        ),
        fix="localai-deploy node prepare N --reboot, when its VMs may stop.",
    ),
    "iommu-weakened": Explanation(
        title="The node was booted with its isolation weakened",
        cause="pcie_acs_override or allow_unsafe_interrupts is on the kernel's command line.",
        detection="/proc/cmdline.",
        fix="Take it out; use a slot with a group of its own.",
    ),
    "card-missing": Explanation(
        title="The node has no such card",
        cause="A typing error, or the bus was numbered anew when a card was added.",
        detection="No function of class 03 is at the address.",
        fix="localai-deploy node check N lists the cards.",
    ),
    "card-ambiguous": Explanation(
        title="It is not clear which card is meant",
        cause="The node has several, or its only one shows the console.",
        detection="Displays other than the one that the firmware uses are counted.",
        fix="Name it with --card ADDRESS.",
    ),
    "card-none": Explanation(
        title="The node has no card",
        cause="None is in it, it is switched off in the firmware, or it is not seated well.",
        detection="No PCI device of class 03 is there.",
        fix="lspci on the node shows what it sees.",
    ),
    "node-without-ssh": Explanation(
        title="The embedded node cannot be logged in to",
        cause="It is an API with guests behind it, and no machine.",
        detection="Its name.",
        fix="Leave --ssh away.",
    ),
    "node-prepare-unasked": Explanation(
        title="A node is not changed where nobody can be asked",
        cause="The command runs without a terminal, and the inventory does not allow it.",
        detection="Before any connection.",
        fix="Run it on a terminal, or set localai_proxmox_ssh_prepare: true for the node.",
    ),
    "node-prepare-failed": Explanation(
        title="A node could not be prepared",
        cause="A task of role vfio failed there; its own words are in the message.",
        detection="Ansible's result.",
        fix="Remove the cause and run the same command again, or take it all back with --rollback.",
    ),
}
