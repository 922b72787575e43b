"""Errors and findings about cards and drivers."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "pci-id-invalid": Explanation(
        title="A PCI id cannot be read",
        cause="It is not vendor and device with four hexadecimal digits each.",
        detection="The id is read before anything is looked up.",
        fix="lspci -nn shows it in brackets behind the card's name: [10de:2204].",
    ),
    "gpu-name-unknown": Explanation(
        title="No card, or more than one, has this name",
        cause="A typo, a card that the tables do not have, or a name that several cards end in.",
        detection="Names are compared without the maker's and the series' name, spaces and case.",
        fix="Write it as nvidia-smi prints it, give the PCI id (lspci -nn), or the memory with --vram.",
    ),
    "gpu-memory-unknown": Explanation(
        title="How much memory a card has is not known",
        cause="The id is in no table, or was sold with sizes that vary by maker.",
        detection="The tables of cards.",
        fix="Give the memory with --vram; nvidia-smi shows it.",
    ),
    "driver-version-invalid": Explanation(
        title="A driver's version cannot be read",
        cause="NVIDIA's versions are two or three numbers with dots, 580.95.05.",
        detection="The versions that the package sources offer are read before one is chosen.",
        fix="Look at what apt-cache policy says about the package that the message names.",
    ),
    "gpu-not-nvidia": Explanation(
        title="The card is not from NVIDIA",
        cause="The catalogue has NVIDIA's cards only.",
        detection="The vendor's half of the PCI id is not 10de.",
        fix="Take the id of the NVIDIA card (lspci -nn -d 10de:).",
    ),
    "gpu-no-card": Explanation(
        title="The id belongs to no GPU",
        cause="A card's sound and USB functions, bridges and switches have ids of the same vendor.",
        detection="The id lies in a run that holds no GPUs.",
        fix="Take the function of class 0300 or 0302 (lspci -nn -d 10de:).",
    ),
    "gpu-card-too-old": Explanation(
        title="The card is too old for the runtime",
        cause="The runtime's builds are made with CUDA 12 and 13, which begin with Maxwell.",
        detection="The card's compute capability or last driver branch, by its PCI id.",
        fix="Run on the CPU with --gpu none, or use a card since Maxwell (GTX 750 and newer).",
    ),
    "gpu-card-unknown": Explanation(
        title="The card is in no list that this program has",
        cause="It is newer than this version, or was never sold under this id.",
        detection="Neither the card tables nor the vendor's list have its PCI id.",
        fix="Update this program; until then trust only what the verification shows.",
    ),
    "gpu-no-driver": Explanation(
        title="No driver on offer suits the card",
        cause=(
            "A distribution's driver is older than the card, or newer than the last branch for it; "
            "or its kernel modules come in the wrong variant or version."
        ),
        detection="What every package source of the host offers is held against the card.",
        fix="Allow NVIDIA's own package source, or use a newer release of the distribution.",
    ),
    "gpu-kernel-untested": Explanation(
        title="The kernel is newer than the driver's packagers have tried",
        cause="Out-of-tree modules often fail to build for kernels that came after them.",
        detection="The running kernel against the newest that the driver's package names.",
        fix="Boot the distribution's own kernel, or use a newer branch of the driver.",
    ),
    "gpu-secure-boot": Explanation(
        title="Secure Boot would refuse the driver's module",
        cause="The module is built on the host, and no key that signs it is known to the firmware.",
        detection="mokutil --sb-state and --test-key on the host.",
        fix=(
            "`driver key HOST` makes the key. Then, by a person: sudo mokutil --import FILE (a password that "
            "is used once), reboot, and at the console Enroll MOK, Continue, Yes, the password, Reboot. Or "
            "switch Secure Boot off. VMs on Proxmox: an EFI disk with pre-enrolled-keys=0."
        ),
    ),
    "gpu-driver-declined": Explanation(
        title="A card is planned and its driver is not wanted",
        cause="localai_gpu names a card, and localai_driver is none.",
        detection="The two settings, before anything is changed.",
        fix="Leave localai_driver at auto, or set localai_gpu to none.",
    ),
}
