"""All explanations in one place."""

from __future__ import annotations

from importlib import import_module

from localai_deploy.explanations import Explanation

_MODULES = (
    "localai_deploy.cli.explanations",
    "localai_deploy.domain.explanations",
    "localai_deploy.domain.fit.explanations",
    "localai_deploy.domain.gguf.explanations",
    "localai_deploy.domain.gpu.explanations",
    "localai_deploy.domain.pci.explanations",
    "localai_deploy.domain.node.explanations",
    "localai_deploy.domain.pitfalls",
    "localai_deploy.domain.pve.explanations",
    "localai_deploy.domain.pve.card_explanations",
    "localai_deploy.domain.safetensors.explanations",
    "localai_deploy.domain.wsl.explanations",
    "localai_deploy.hub.explanations",
    "localai_deploy.targets.explanations",
    "localai_deploy.provisioner.explanations",
    "localai_deploy.provisioner.role_explanations",
    "localai_deploy.proxmox.explanations",
    "localai_deploy.proxmox.access_explanations",
    "localai_deploy.proxmox.refusal_explanations",
    "localai_deploy.sandbox.explanations",
    "localai_deploy.workflow.explanations",
)


def catalogue() -> dict[str, Explanation]:
    """Error id → explanation; every id that the program can raise is here (held by a test)."""
    entries: dict[str, Explanation] = {}
    for module in _MODULES:
        entries |= import_module(module).EXPLANATIONS
    return entries
