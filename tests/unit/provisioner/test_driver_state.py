"""How the role calls its program: options between command and names, on every Python that hosts have."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parents[3] / "playbooks" / "roles" / "nvidia_driver" / "files" / "driver_state.py"


def test_names_may_follow_options(tmp_path: Path) -> None:
    """Before Python 3.12 argparse takes positionals that follow an option for too many."""
    key = tmp_path / "key"
    key.write_text("no key")
    words = ["key", "--kernel", "6.1.0-56-amd64", "--signed", str(key), "A" * 40]
    done = subprocess.run([sys.executable, str(PROGRAM), *words], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["error_id"] == "driver-key-wrong"
