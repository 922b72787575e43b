"""Guests that were saved when they had booted: memory, disk, variables, by what they were made of."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KEPT = 3
_POLL_S = 0.2
_KEY_DIGITS = 16


@dataclass(frozen=True, slots=True)
class SavedGuest:
    """The folder of one saved guest."""

    folder: Path

    @property
    def memory(self) -> Path:
        """The state of the machine, as QEMU writes it."""
        return self.folder / "memory"

    @property
    def variables(self) -> Path:
        """The firmware's variables, raw."""
        return self.folder / "variables.raw"

    @property
    def disk(self) -> Path:
        """The disk of the image's size."""
        return self.folder / "disk.qcow2"


@dataclass(frozen=True, slots=True)
class SavedGuests:
    """All saved guests of one cache; the ones not used for longest go."""

    folder: Path

    def find(self, key: str) -> SavedGuest | None:
        """The saved guest of that key."""
        saved = SavedGuest(self.folder / key)
        if not saved.memory.exists():
            return None
        saved.memory.touch()
        return saved

    @contextmanager
    def making(self, key: str, check: Callable[[], None]) -> Iterator[SavedGuest | None]:
        """One that can be filled, while nobody else makes it; None when it has been made meanwhile.

        It counts as saved when the context ends without an error. `check` is called now and then while
        others are waited for; what it raises ends that.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{key}.lock").open("a") as lock:
            _wait_for(lock.fileno(), check)
            if self.find(key):
                yield None
                return
            partial = self.folder / f".{key}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            try:
                yield SavedGuest(partial)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            shutil.rmtree(self.folder / key, ignore_errors=True)
            partial.rename(self.folder / key)
            self._remove_oldest()

    def discard(self, key: str) -> None:
        """Forget one that cannot be resumed."""
        shutil.rmtree(self.folder / key, ignore_errors=True)

    def _remove_oldest(self) -> None:
        saved = self.folder.glob("[!.]*/memory")
        for memory in sorted(saved, key=lambda memory: memory.stat().st_mtime, reverse=True)[_KEPT:]:
            shutil.rmtree(memory.parent)


def _wait_for(lock: int, check: Callable[[], None]) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            check()
            time.sleep(_POLL_S)
        else:
            return


def key_of(parts: dict[str, Any]) -> str:
    """A name for a saved guest that follows from all that it was made of."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_KEY_DIGITS]
