"""The kinds of guest bodies by name; what each needs of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from localai_deploy.errors import LocalaiError
from localai_deploy.sandbox.body import BareBody, GuestBody
from localai_deploy.sandbox.settings import Settings

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a kind of bodies is opened with.

    :param token: marks this sandbox's namespaces and cgroups.
    :param folder: for whatever it makes; removed with the sandbox.
    :param say: takes lines about work that takes its time.
    """

    token: str
    folder: Path
    settings: Settings
    say: Say


@dataclass(frozen=True, slots=True)
class Bodies:
    """Bodies that can be had, and how their guests are reached by SSH."""

    make: Callable[[int], GuestBody]
    guest_ssh_args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BodyKind:
    """One kind.

    :param summary: what a guest of this kind is, for people.
    :param packages: Debian package by the command that it is needed for.
    """

    summary: str
    open: Callable[[Surroundings], AbstractContextManager[Bodies]]
    needs_root: bool = True
    packages: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def _bare(_: Surroundings) -> Iterator[Bodies]:
    yield Bodies(lambda vmid: BareBody())  # noqa: ARG005 - one body is as good as another


KINDS: dict[str, BodyKind] = {
    "bare": BodyKind("no guest: a VM is only switched on and off", _bare, needs_root=False),
}


def check_prerequisites(name: str) -> None:
    """Look whether this machine and user can have bodies of a kind.

    :raises LocalaiError: ``sandbox-needs-root``, ``sandbox-packages-missing``.
    """
    kind = KINDS[name]
    if kind.needs_root and os.geteuid() != 0:
        raise LocalaiError(
            "sandbox-needs-root",
            f"guests of kind {name} need root",
            why="a network namespace and mounts are made for them",
            hint="run it with sudo; --body bare needs no root, but nothing can be installed in its guests",
        )
    missing = sorted({package for command, package in kind.packages.items() if not _is_there(command)})
    if missing:
        raise LocalaiError(
            "sandbox-packages-missing",
            f"guests of kind {name} need Debian packages that are not here: {', '.join(missing)}",
            hint=f"apt-get install --no-install-recommends {' '.join(missing)}",
        )


def _is_there(command: str) -> bool:
    """A command on the path, or a file by its absolute name."""
    return Path(command).exists() if command.startswith("/") else shutil.which(command) is not None
