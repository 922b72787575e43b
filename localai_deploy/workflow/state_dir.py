"""Local files of this tool: a journal and run logs. Losing them loses nothing."""

from __future__ import annotations

import os
from pathlib import Path


def state_dir() -> Path:
    """``$XDG_STATE_HOME/localai-deploy``, made with mode 0700."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    directory = Path(base) / "localai-deploy"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    return directory
