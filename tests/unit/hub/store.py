"""Drive the model store's script in processes of its own, as a host runs it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

SCRIPT = Path(__file__).parents[3] / "playbooks/roles/model_store/files/model_store.py"


def load_script() -> ModuleType:
    """The script as a module, for its pure functions."""
    spec = importlib.util.spec_from_file_location("model_store_script", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def gguf(size: int, seed: int = 1) -> bytes:
    """Bytes that begin like a GGUF file and cannot be guessed or compressed."""
    return b"GGUF" + (3).to_bytes(4, "little") + random.Random(seed).randbytes(size - 8)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Store:
    """A store in a directory; every command is one process with an almost empty environment."""

    def __init__(self, directory: Path, **env: str) -> None:
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.env = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **env}

    def job(self, url: str, content: bytes | None, **more: Any) -> dict[str, Any]:
        data: dict[str, Any] = {
            "file_name": "model.gguf",
            "reference": "hf:lab/model/model.gguf",
            "url": url,
            "upload_path": "",
            "sha256": sha256(content) if content is not None else "",
            "size_bytes": len(content) if content is not None else 0,
            "revision": "",
            "trust_first_download": content is None,
            "token": "",
            "free_space_reserve_percent": 10,
            "stall_timeout_s": 5,
            "backoff_s": 0.01,
        }
        return {**data, **more}

    def run(self, command: str, *args: str, job: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Exit code and answer."""
        argv = [sys.executable, "-I", str(SCRIPT), command, "--dir", str(self.directory), *args]
        text = json.dumps(job) if job else ""
        done = subprocess.run(
            argv, check=False, input=text, capture_output=True, text=True, env=self.env, timeout=120
        )
        assert done.stdout.count("\n") == 1, done.stderr
        return done.returncode, json.loads(done.stdout)

    def pull(self, job: dict[str, Any]) -> dict[str, Any]:
        """Answer of a pull that must succeed."""
        code, answer = self.run("pull", job=job)
        assert (code, answer["error_id"]) == (0, ""), answer
        return answer

    def refused(self, job: dict[str, Any]) -> dict[str, Any]:
        """Answer of a pull that must be refused with exit code 3."""
        code, answer = self.run("pull", job=job)
        assert code == 3, answer
        assert answer["changed"] is False
        return answer

    def start_pull(self, job: dict[str, Any], *wrapper: str) -> subprocess.Popen[str]:
        """A pull in the background, its job already written."""
        argv = [sys.executable, "-I", *(wrapper or (str(SCRIPT),)), "pull", "--dir", str(self.directory)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=self.env)
        assert process.stdin
        process.stdin.write(json.dumps(job))
        process.stdin.close()
        process.stdin = None
        return process

    def names(self) -> list[str]:
        return sorted(path.name for path in self.directory.iterdir())

    def stamps(self) -> dict[str, tuple[int, int, int]]:
        """What a change of any file would alter."""
        stats = {path.name: path.stat() for path in self.directory.iterdir()}
        return {name: (stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns) for name, stat in stats.items()}

    @property
    def final(self) -> Path:
        return self.directory / "model.gguf"

    @property
    def part(self) -> Path:
        return self.directory / "model.gguf.part"

    @property
    def sidecar(self) -> Path:
        return self.directory / "model.gguf.part.json"

    @property
    def record(self) -> Path:
        return self.directory / "model.gguf.json"
