"""The seed ISO, read back by programs that are not ours."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from localai_deploy.domain.pve.seed import Seed, StaticAddress
from localai_deploy.targets.seed_iso import seed_files, seed_iso

SEED = Seed(
    "6f1ed002-ab5b-4b63-9d0a-6d41ae0e5a9a",
    "ai1",
    "admin",
    "10:20:30:40:50:10",
    ("ssh-ed25519 AAAAC3Nz me@desk", "ecdsa-sha2-nistp256 AAAAE2 'quoted: # key'"),
    static=StaticAddress("192.0.2.7/24", "192.0.2.1", ("192.0.2.53", "2001:db8::53")),
    apt_mirror="http://192.0.2.1/debian",
)
FILES = {"meta-data", "user-data", "network-config"}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "seed.iso"
    path.write_bytes(seed_iso(SEED))
    return path


def needs(command: str) -> None:
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")


def by_bsdtar(image: Path, *options: str) -> dict[str, bytes]:
    needs("bsdtar")
    argv = ("bsdtar", *options, "-C", image.parent, "-xf", image)
    subprocess.run(argv, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in image.parent.iterdir() if path != image}


def by_rock_ridge(image: Path) -> dict[str, bytes]:
    return by_bsdtar(image, "--options=!joliet")


def by_joliet(image: Path) -> dict[str, bytes]:
    return by_bsdtar(image, "--options=!rockridge")


def by_xorriso(image: Path) -> dict[str, bytes]:
    needs("xorriso")
    target = image.parent / "out"
    argv = ("xorriso", "-osirrox", "on", "-indev", image, "-extract", "/", target)
    subprocess.run(argv, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in target.iterdir()}


def by_isoinfo(image: Path) -> dict[str, bytes]:
    needs("isoinfo")
    read = {}
    for name in FILES:
        argv = ("isoinfo", "-R", "-i", image, "-x", f"/{name}")
        read[name] = subprocess.run(argv, check=True, capture_output=True).stdout
    return read


@pytest.mark.parametrize("read", [by_rock_ridge, by_joliet, by_xorriso, by_isoinfo])
def test_files(image: Path, read: object) -> None:
    assert callable(read)
    assert read(image) == seed_files(SEED)


def test_label(image: Path) -> None:
    needs("blkid")
    argv = ("blkid", "--probe", "--output", "value", "--match-tag", "LABEL", image)
    assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout == "cidata\n"


def test_equal_seeds_are_equal_images(monkeypatch: pytest.MonkeyPatch) -> None:
    first = seed_iso(SEED)
    monkeypatch.setattr(time, "time", lambda: 4_000_000_000.0)
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    assert seed_iso(replace(SEED)) == first
    assert seed_iso(replace(SEED, hostname="ai2")) != first


@pytest.fixture(autouse=True)
def zone() -> Iterator[None]:
    yield
    time.tzset()


def test_the_clock_is_left_alone() -> None:
    import pycdlib

    seed_iso(SEED)
    assert vars(pycdlib.pycdlib)["time"] is time


def test_contents_are_what_was_meant() -> None:
    files = seed_files(SEED)
    assert set(files) == FILES
    assert files["user-data"].startswith(b"#cloud-config\n")
    assert not files["network-config"].startswith(b"#")
    assert {name: yaml.safe_load(content) for name, content in files.items()} == SEED.documents()
    card = yaml.safe_load(files["network-config"])["ethernets"]["uplink"]
    assert card["match"] == {"macaddress": "10:20:30:40:50:10"}


def test_a_long_key_stays_on_one_line() -> None:
    key = f"ssh-rsa {'A' * 700} {'word ' * 100}me"
    content = seed_files(replace(SEED, authorized_keys=(key,)))["user-data"].decode()
    assert yaml.safe_load(content)["users"][0]["ssh_authorized_keys"] == [key]
