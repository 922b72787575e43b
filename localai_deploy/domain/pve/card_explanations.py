"""Findings about which card is meant, its mapping and its reset test."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "gpu-unknown": Explanation(
        title="The node has no such card",
        cause="A typing error, a card of another node, or the name of a model that is not quite the card's.",
        detection="Against the node's PCI devices, the cluster's resource mappings and the cards' names.",
        fix="Name one that the message lists: by address (0000:01:00), mapping, or the card's own name.",
    ),
    "gpu-ambiguous": Explanation(
        title="Several cards are meant",
        cause="Two cards of one model, a mapping that stands for several, or `auto` with several free ones.",
        detection="Against the node's PCI devices and who has which card.",
        fix="Name one by its address; a re-run keeps the card that the VM has.",
    ),
    "gpu-none-free": Explanation(
        title="No card is free and can be given to a VM",
        cause="`auto` takes a card of NVIDIA that no other VM has and that no finding blocks.",
        detection="Configs and leases of all VMs that the token may see, and the findings about each card.",
        fix="Name a card with --gpu: the plan then shows everything that speaks against it.",
    ),
    "gpu-needs-node": Explanation(
        title="A card can be given to a VM only",
        cause="localai_gpu is set for a host that is not made on a Proxmox node.",
        detection="The inventory and the flags, before anything is asked.",
        fix="Name the node (--node N, localai_node), or leave localai_gpu at none for this host.",
    ),
    "card-unmapped": Explanation(
        title="No resource mapping stands for the card, and the token may not make one",
        cause=(
            "API tokens give a VM a card by a mapping alone; to make one takes Mapping.Modify, to see one "
            "Mapping.Use or Mapping.Audit."
        ),
        detection="GET /cluster/mapping/pci and GET /access/permissions.",
        fix="An admin runs the two commands of the message once; or `node permissions N --role setup`.",
    ),
}
