"""Debian roots for containers, built by mmdebstrap once for each recipe and kept."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from localai_deploy.sandbox.command import run

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
"""The same path on this machine and in a Debian root."""
DEBIAN = "http://deb.debian.org/debian"
"""Everything from there is signed; a root without certificates can be built from it, too."""


@dataclass(frozen=True, slots=True)
class RootRecipe:
    """All that decides what is in a root.

    :param commands: shell commands run inside after the packages are there; without single quotes.
    :param files: path below the root → text, written at the end; their folders are made.
    :param apt_settings: lines of apt.conf that the root keeps.
    :param dpkg_settings: lines of dpkg.cfg that the root keeps.
    """

    suite: str
    packages: tuple[str, ...]
    commands: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    apt_settings: str = ""
    dpkg_settings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Names the root: the suite and twelve hex digits of the recipe."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{self.suite}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def debian_sources(mirror: str, suite: str) -> str:
    """An apt source file (deb822) of an archive at a URL like ``…/debian``, with its updates.

    Security updates lie in ``…/debian-security`` beside it; an archive of another name has none.
    """
    stanza = "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: {}\n"
    stanzas = [stanza.format(mirror, f"{suite} {suite}-updates", KEYRING)]
    if mirror.endswith("/debian"):
        stanzas.append(stanza.format(f"{mirror}-security", f"{suite}-security", KEYRING))
    return "\n".join(stanzas)


def apt_date_settings() -> str:
    """What this machine's apt is told about the age of indexes, as apt.conf: a root sees the same archive."""
    if shutil.which("apt-config") is None:
        return ""
    values = run("apt-config", "dump", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
    return "".join(f"{line}\n" for line in values.splitlines() if line.startswith("Acquire::Check-"))


def ensure_root(cache: Path, recipe: RootRecipe, sources: Callable[[], str]) -> Path:
    """The folder of a recipe's root; built when it is missing (about a minute).

    :param sources: gives the apt source file to build from; asked only when there is something to build.
    :raises MachineError: it cannot be built.
    """
    root = cache / recipe.digest
    if not root.is_dir():
        with _turn(cache):
            if not root.is_dir():
                _build(recipe, sources(), root)
    return root


def remove_unfinished(cache: Path) -> None:
    """Delete what a killed build left behind."""
    with _turn(cache):
        for path in cache.glob("*.partial"):
            shutil.rmtree(path)


@contextmanager
def _turn(cache: Path) -> Iterator[None]:
    """One build at a time in this cache."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(recipe: RootRecipe, sources: str, root: Path) -> None:
    partial = root.with_name(f"{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    run(*_mmdebstrap(recipe, partial), input_text=sources)
    for name, text in recipe.files.items():
        path = partial / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    partial.rename(root)


def _mmdebstrap(recipe: RootRecipe, target: Path) -> list[str]:
    return [
        *("mmdebstrap", "--mode=root", "--variant=apt", "--quiet"),
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={line}" for line in recipe.apt_settings.splitlines()),
        *(f"--dpkgopt={line}" for line in recipe.dpkg_settings),
        *(f"--customize-hook=chroot \"$1\" sh -c '{command}'" for command in recipe.commands),
        *(recipe.suite, str(target), "-"),
    ]
