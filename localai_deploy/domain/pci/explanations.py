"""Errors of PCI addresses."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "pci-address-invalid": Explanation(
        title="This is no PCI address",
        cause="A typing error, or a PCI id (10de:2204), which names a kind of card and no slot.",
        detection="The text is read before anything is asked of a node.",
        fix="lspci -D on the node shows them: 0000:01:00.0; domain and function may be left away.",
    ),
}
