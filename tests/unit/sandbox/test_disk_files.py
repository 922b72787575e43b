"""Files of disks: as long as the disk, sparse, and real images where qemu-img is there."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from localai_deploy.sandbox.disk_files import (
    FIRMWARE,
    copy_disk,
    digest_of_file,
    firmware_code,
    grow,
    make_empty,
    make_linked,
    make_variables,
)

MIB = 1 << 20
needs_qemu_img = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="apt package qemu-utils is missing"
)


def info(file):
    done = subprocess.run(["qemu-img", "info", "--output=json", file], capture_output=True, check=True)
    return json.loads(done.stdout)


def test_a_raw_disk_is_sparse_and_grows(tmp_path):
    disk = tmp_path / "disk.raw"
    make_empty(disk, "raw", 64 * MIB)
    assert (disk.stat().st_size, disk.stat().st_blocks) == (64 * MIB, 0)
    grow(disk, "raw", 128 * MIB)
    assert (disk.stat().st_size, disk.stat().st_blocks) == (128 * MIB, 0)


def test_a_copy_keeps_content_and_holes(tmp_path):
    source, copy = tmp_path / "a.raw", tmp_path / "b.raw"
    make_empty(source, "raw", 64 * MIB)
    with source.open("r+b") as disk:
        disk.seek(5 * MIB)
        disk.write(b"content")
    copy_disk(source, "raw", copy, "raw")
    assert digest_of_file(copy) == digest_of_file(source)
    assert copy.stat().st_blocks * 512 < MIB


@needs_qemu_img
def test_qcow2_disks(tmp_path):
    disk, linked = tmp_path / "disk.qcow2", tmp_path / "linked.qcow2"
    make_empty(disk, "qcow2", 64 * MIB)
    grow(disk, "qcow2", 128 * MIB)
    assert (info(disk)["format"], info(disk)["virtual-size"]) == ("qcow2", 128 * MIB)
    make_linked(linked, disk, "qcow2")
    assert (info(linked)["virtual-size"], info(linked)["backing-filename"]) == (128 * MIB, str(disk))


@needs_qemu_img
def test_an_image_stays_as_it_is_unless_another_format_is_asked(tmp_path):
    source, same, raw = tmp_path / "a.qcow2", tmp_path / "b.qcow2", tmp_path / "c.raw"
    make_empty(source, "qcow2", 8 * MIB)
    subprocess.run(["qemu-io", "-c", "write -P 7 1M 64k", source], capture_output=True, check=True)
    copy_disk(source, "qcow2", same, "qcow2")
    assert digest_of_file(same) == digest_of_file(source)
    copy_disk(source, "qcow2", raw, "raw")
    assert raw.stat().st_size == 8 * MIB
    assert raw.read_bytes()[MIB : MIB + 65536] == b"\7" * 65536


@pytest.mark.skipif(not FIRMWARE.is_dir(), reason="apt package ovmf is missing")
def test_variables_are_the_firmware_s_own(tmp_path):
    plain, keys, small = tmp_path / "plain.fd", tmp_path / "keys.fd", tmp_path / "small.fd"
    make_variables(plain, "raw", "4m", with_keys=False)
    make_variables(keys, "raw", "4m", with_keys=True)
    make_variables(small, "raw", "2m", with_keys=False)
    assert plain.read_bytes() == (FIRMWARE / "OVMF_VARS_4M.fd").read_bytes()
    assert keys.read_bytes() == (FIRMWARE / "OVMF_VARS_4M.ms.fd").read_bytes()
    assert [file.stat().st_size for file in (plain, small)] == [540672, 131072]


def test_variables_without_firmware_are_zeros(tmp_path, monkeypatch):
    monkeypatch.setattr("localai_deploy.sandbox.disk_files.FIRMWARE", tmp_path / "none")
    file = tmp_path / "vars.fd"
    make_variables(file, "raw", "4m", with_keys=False)
    assert (file.stat().st_size, set(file.read_bytes())) == (540672, {0})


def test_the_firmware_fits_its_variables():
    assert firmware_code(540672).name == "OVMF_CODE_4M.fd"
    assert firmware_code(131072).name == "OVMF_CODE.fd"
