"""The Debian archive of guests: the one of this machine unless another is named."""

from __future__ import annotations

import subprocess

from localai_deploy.sandbox.debian_root import DEBIAN


def own_archive() -> str:
    """Base URL of the Debian archive in this machine's apt sources, else Debian's own."""
    found = [uri.rstrip("/") for uri in _output("apt-get", "indextargets", "--format", "$(REPO_URI)").split()]
    usable = [uri for uri in found if uri.startswith("http") and uri.endswith("/debian")]
    return usable[0] if usable else DEBIAN


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return ""
