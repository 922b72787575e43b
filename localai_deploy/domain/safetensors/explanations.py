"""Errors about safetensors files."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "safetensors-header-invalid": Explanation(
        title="A safetensors file's header cannot be right",
        cause="The file is damaged or cut off, or was made to harm the programs that load it.",
        detection="Its length, JSON, types, shapes and places of bytes are held against each other.",
        fix="Fetch the file again from its publisher and compare its SHA-256; do not load this one.",
    ),
}
