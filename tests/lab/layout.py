"""Where a lab keeps its things, and how its processes take turns."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).resolve().parents[2]
_MOUNTABLE = re.compile(r"[A-Za-z0-9._+@/-]+")
_MACHINE_LOCK = Path("/run/lock/localai-lab.lock")


class LabError(RuntimeError):
    """The lab cannot do what was asked; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class Lab:
    """One lab directory. Two labs on one machine share nothing but address space."""

    directory: Path

    @property
    def token(self) -> str:
        """Six hex digits that mark this lab's interfaces and namespaces in the kernel."""
        return hashlib.sha256(str(self.directory).encode()).hexdigest()[:6]

    @property
    def images(self) -> Path:
        return self.directory / "images"

    @property
    def hosts(self) -> Path:
        return self.directory / "hosts"

    @property
    def mirror(self) -> Path:
        """Run files of the mirror: lock, log."""
        return self.directory / "mirror"

    @property
    def files(self) -> Path:
        """What the mirror serves below ``/files``."""
        return self.directory / "files"

    @property
    def tls(self) -> Path:
        """The lab's certificate authority."""
        return self.directory / "tls"

    @property
    def debian_cache(self) -> Path:
        return self.directory / "debian"

    @property
    def private_key(self) -> Path:
        """The key that every host of this lab accepts for its admin."""
        return self.directory / "keys" / "id_ed25519"

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lab's lock ``name``; waits for other processes."""
        with _flock(self.directory / "locks" / name):
            yield


def open_lab(directory: Path | None = None) -> Lab:
    """The lab in ``directory``, else in $LOCALAI_LAB_DIR, else in the checkout's ``.lab``."""
    chosen = directory or Path(os.environ.get("LOCALAI_LAB_DIR") or REPOSITORY / ".lab")
    chosen = chosen.resolve()
    if not _MOUNTABLE.fullmatch(str(chosen)):
        raise LabError(
            f"the lab cannot lie in {str(chosen)!r}: only letters, digits and . _ + @ / - are mountable"
        )
    chosen.mkdir(parents=True, exist_ok=True)
    return Lab(chosen)


@contextmanager
def machine_lock() -> Iterator[None]:
    """Serialise the choice of addresses between all labs of this machine."""
    with _flock(_MACHINE_LOCK):
        yield


@contextmanager
def _flock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
