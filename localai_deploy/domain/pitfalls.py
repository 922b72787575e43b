"""What goes wrong in the field around cards and drivers, for ``explain``: ids that no finding has."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "pve-token-no-rights": Explanation(
        title="An API token has no rights",
        cause="A new token is separated from its user's rights and has none of its own.",
        detection="GET /access/permissions against what is needed; later 403 with path and privilege.",
        fix="localai-deploy node permissions N prints the roles and grants for the node's version.",
    ),
    "open-module": Explanation(
        title="The card needs the other kind of kernel module",
        cause=(
            "Blackwell and Grace Hopper work with NVIDIA's open modules only, Maxwell to Volta"
            " with the others."
        ),
        detection="The card's generation; later 'requires use of the NVIDIA open kernel modules'.",
        fix="localai-deploy gpu info ID names the packages.",
    ),
    "legacy-gpu": Explanation(
        title="The card is past its last driver branch",
        cause="Branch 580 is the last for Maxwell, Pascal and Volta, and CUDA 13 left them out.",
        detection="The compute capability; later 'no kernel image is available'.",
        fix="Branch 580 and builds for CUDA 12.",
    ),
    "kernel-floor": Explanation(
        title="The driver is older than the kernel",
        cause="Its modules are built on the spot against a kernel that its packagers had not seen.",
        detection="Kernel and driver versions; later DKMS' build log.",
        fix="A newer branch, or the distribution's own kernel with its headers.",
    ),
    "driver-mismatch": Explanation(
        title="Library and kernel module are of different versions",
        cause="The library was upgraded while the old module runs.",
        detection="/proc/driver/nvidia/version against the library; 'Driver/library version mismatch'.",
        fix="Reboot; hold the packages, so that they change together.",
    ),
    "cpu-fallback": Explanation(
        title="The runtime works on the CPU without a word",
        cause="It started before the driver, or its build has no backend for the card.",
        detection="No process of the service is on the GPU; no layers are offloaded.",
        fix="localai-deploy verify shows which check fails; start the service after the driver.",
    ),
    "soft-renderer": Explanation(
        title="A software renderer passes for a GPU",
        cause="llvmpipe is a Vulkan device like any other.",
        detection="The device's type; a count of devices proves nothing.",
        fix="Install the card's own driver.",
    ),
    "no-ip": Explanation(
        title="A new VM tells no address",
        cause="Its image has no guest agent, or the agent tells link-local and container addresses only.",
        detection="The agent's answer for the MAC of the first network card.",
        fix="Let the first boot install the agent (it does by default), or set localai_address.",
    ),
    "wsl-driver": Explanation(
        title="A Linux driver inside WSL breaks the GPU",
        cause="There the driver is Windows' own; a Linux package hides its libraries.",
        detection="/dev/dxg and /usr/lib/wsl/lib beside driver packages.",
        fix="Remove the driver packages; install the driver on Windows only.",
    ),
    "pull-corrupt": Explanation(
        title="A model's file is damaged",
        cause="A download was cut off, or two ran at once.",
        detection="Its SHA-256 against the one that the hub tells.",
        fix="localai-deploy model verify HOST, then pull it again: it goes on where it stopped.",
    ),
    "exposed-api": Explanation(
        title="The API is open to the network",
        cause="It listens beyond loopback, without TLS or without a key.",
        detection="The bind address; an answer without a key.",
        fix="Leave it on 127.0.0.1 and reach it through ssh -L.",
    ),
    "lxc-uvm": Explanation(
        title="A container does not see the card",
        cause="/dev/nvidia-uvm is made on first use, and its numbers change.",
        detection="Device nodes and driver versions of node and container; CUDA's error 999.",
        fix=(
            "Make the nodes before containers start (nvidia-modprobe -u -c 0), with equal"
            " versions; or use a VM."
        ),
    ),
}
