"""The root of a container: a writable view of a folder that many share."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from localai_deploy.sandbox.command import run


@dataclass(frozen=True, slots=True)
class Overlay:
    """A writable view ``merged`` of ``base``: all changes lie in ``upper``."""

    base: Path
    upper: Path
    work: Path
    merged: Path

    def mount(self) -> None:
        """Mount it; features that would leave references instead of files in ``upper`` are off."""
        for directory in (self.upper, self.work, self.merged):
            directory.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={self.base},upperdir={self.upper},workdir={self.work}"
        run(
            *("mount", "-t", "overlay", "overlay", str(self.merged)),
            *("-o", f"{options},redirect_dir=off,metacopy=off,index=off"),
        )

    def replace_upper(self, saved: Path) -> None:
        """Make ``saved`` the content of ``upper``; it must not be mounted."""
        for directory in (self.upper, self.work):
            shutil.rmtree(directory, ignore_errors=True)
        copy_tree(saved, self.upper)


def unmount(path: Path) -> None:
    """Unmount ``path``; no error when it is not mounted."""
    if path.is_mount():
        run("umount", str(path))


def copy_tree(source: Path, target: Path) -> None:
    """Copy with owners, times, whiteouts and trusted attributes; ``target`` is replaced."""
    if target.exists():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    run("cp", "--archive", "--reflink=auto", str(source), str(target))
