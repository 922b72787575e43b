"""The kinds of guest bodies by name; what each needs of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

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
    """Bodies that can be had, and how their guests are reached by SSH.

    :param kvm: the node says that its CPU runs guests itself.
    """

    make: Callable[[int], GuestBody]
    guest_ssh_args: tuple[str, ...] = ()
    kvm: bool = True


@dataclass(frozen=True, slots=True)
class BodyKind:
    """One kind; its modules are imported only when it is used.

    :param summary: what a guest of this kind is, for people.
    :param opener: ``MODULE:FUNCTION`` below this package that opens its bodies; empty: they need nothing.
    :param packages: ``MODULE:CONSTANT``, Debian package by the command or file that it is needed for.
    """

    summary: str
    opener: str = ""
    packages: str = ""


KINDS: dict[str, BodyKind] = {
    "container": BodyKind(
        "a systemd container that is up in seconds, with this machine's kernel",
        "container_kind:container_bodies",
        "container_body:PACKAGES",
    ),
    "qemu": BodyKind(
        "a real virtual machine; minutes to boot where KVM does not work",
        "qemu_kind:qemu_bodies",
        "qemu_body:PACKAGES",
    ),
    "resume": BodyKind(
        "a real virtual machine that was booted and saved before; its kernel did not boot for this VM",
        "qemu_kind:resume_bodies",
        "resume_body:PACKAGES",
    ),
    "bare": BodyKind("no guest at all, a VM is only switched on and off"),
}


def open_bodies(name: str, around: Surroundings) -> AbstractContextManager[Bodies]:
    """Bodies of a kind, until the context ends."""
    opener = KINDS[name].opener
    if not opener:
        return nullcontext(Bodies(lambda vmid: BareBody()))  # noqa: ARG005 - one is as good as another
    return cast("AbstractContextManager[Bodies]", _named(opener)(around))


def check_prerequisites(name: str) -> None:
    """Look whether this machine and user can have bodies of a kind.

    :raises LocalaiError: ``sandbox-needs-root``, ``sandbox-packages-missing``.
    """
    kind = KINDS[name]
    if kind.opener and os.geteuid() != 0:
        raise LocalaiError(
            "sandbox-needs-root",
            f"guests of kind {name} need root",
            why="a network namespace and mounts are made for them",
            hint="run it with sudo; --body bare needs no root, but nothing can be installed in its guests",
        )
    packages: Mapping[str, str] = _named(kind.packages) if kind.packages else {}
    missing = sorted({package for command, package in packages.items() if not _is_there(command)})
    if missing:
        raise LocalaiError(
            "sandbox-packages-missing",
            f"guests of kind {name} need Debian packages that are not here: {', '.join(missing)}",
            hint=f"apt-get install --no-install-recommends {' '.join(missing)}",
        )


def _named(path: str) -> Any:  # noqa: ANN401
    module, _, name = path.partition(":")
    return getattr(import_module(f"localai_deploy.sandbox.{module}"), name)


def _is_there(command: str) -> bool:
    """A command on the path, or a file by its absolute name."""
    return Path(command).exists() if command.startswith("/") else shutil.which(command) is not None
