"""The seed that the product writes is found and read by the system's own tools, as a guest would."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from localai_deploy.domain.pve.seed import Seed
from localai_deploy.sandbox.command import MachineError
from localai_deploy.sandbox.seed_disc import find_seed, plant_seed
from localai_deploy.targets.seed_iso import seed_files, seed_iso

os.environ["PATH"] = f"{os.environ['PATH']}:/usr/sbin:/sbin"
MISSING = [command for command in ("blkid", "bsdtar") if shutil.which(command) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"commands missing: {' '.join(MISSING)}")
SEED = Seed("uuid-1", "box", "ops", "BC:24:11:00:00:01", ("ssh-ed25519 AAAA ops",))
PLACE = "var/lib/cloud/seed/nocloud"


@pytest.fixture
def disc(tmp_path: Path) -> Path:
    path = tmp_path / "seed.iso"
    path.write_bytes(seed_iso(SEED))
    return path


def test_the_seed_is_found_by_its_label_among_disks(tmp_path: Path, disc: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(bytes(1 << 20))
    assert find_seed({"scsi0": str(disk), "scsi1": str(disc), "efidisk0": str(disk)}) == disc
    assert find_seed({"scsi0": str(disk)}) is None


def test_a_disc_with_another_label_is_no_seed(disc: Path) -> None:
    content = disc.read_bytes()
    assert b"cidata" in content
    disc.write_bytes(content.replace(b"cidata", b"nodata").replace("cidata".encode("utf-16-be"), b"\0n" * 6))
    assert find_seed({"scsi1": str(disc)}) is None


def test_the_files_arrive_as_cloud_init_names_them(tmp_path: Path, disc: Path) -> None:
    plant_seed(disc, tmp_path / "root")
    found = {path.name: path.read_bytes() for path in (tmp_path / "root" / PLACE).iterdir()}
    assert found == seed_files(SEED)


def test_without_the_disc_the_seed_goes(tmp_path: Path, disc: Path) -> None:
    plant_seed(disc, tmp_path)
    plant_seed(None, tmp_path)
    assert not (tmp_path / PLACE).exists()


def test_a_disc_that_cannot_be_read(tmp_path: Path) -> None:
    broken = tmp_path / "broken.iso"
    broken.write_bytes(b"no file system")
    with pytest.raises(MachineError, match=r"broken\.iso"):
        plant_seed(broken, tmp_path)


@pytest.mark.skipif(shutil.which("xorriso") is None, reason="xorriso is missing")
def test_another_writers_disc(tmp_path: Path) -> None:
    for name, content in seed_files(SEED).items():
        path = tmp_path / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    disc = tmp_path / "other.iso"
    argv = ["xorriso", "-as", "genisoimage", "-quiet", "-V", "cidata", "-r", "-o", disc, tmp_path / "files"]
    subprocess.run(argv, check=True, capture_output=True)
    assert find_seed({"scsi1": str(disc)}) == disc
    plant_seed(disc, tmp_path)
    assert {path.name for path in (tmp_path / PLACE).iterdir()} == set(seed_files(SEED))
