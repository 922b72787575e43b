"""The answer whether KVM boots a kernel: from a kernel's own words, kept for one boot of the machine."""

from __future__ import annotations

from itertools import pairwise

import pytest

from localai_deploy.sandbox import acceleration
from localai_deploy.sandbox.acceleration import kvm_boots

BOOTS = "echo 'Linux version 6.1.0'; echo 'Kernel panic - not syncing: VFS: no root'"
HANGS = "sleep 60"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A kernel, a device that may be used, and a file that counts the tries."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / "vmlinuz-6.1").write_bytes(b"kernel")
    monkeypatch.setattr(acceleration, "_DEVICE", tmp_path / "boot")
    monkeypatch.setattr(acceleration, "_BOOT_ID", tmp_path / "boot_id")
    (tmp_path / "boot_id").write_text("first\n")
    return tmp_path


def probe_with(machine, monkeypatch, script):
    text = f"echo try >> {machine}/tries; {script}"
    monkeypatch.setattr(acceleration, "probe_command", lambda kernel: ("sh", "-c", text))


def ask(machine):
    return kvm_boots(machine / "cache", machine / "boot", timeout_s=0.5)


def tries(machine):
    return (machine / "tries").read_text().count("try")


@pytest.mark.parametrize(
    ("script", "answer"),
    [(BOOTS, True), (HANGS, False), (f"{BOOTS}; exit 1", False), ("echo firmware only", False)],
)
def test_only_a_kernel_that_comes_to_its_end_counts(machine, monkeypatch, script, answer):
    probe_with(machine, monkeypatch, script)
    assert ask(machine) is answer


def test_the_answer_is_kept_until_the_next_boot(machine, monkeypatch):
    probe_with(machine, monkeypatch, BOOTS)
    assert (ask(machine), ask(machine), tries(machine)) == (True, True, 1)
    (machine / "boot_id").write_text("second\n")
    probe_with(machine, monkeypatch, "true")
    assert (ask(machine), ask(machine), tries(machine)) == (False, False, 2)


def test_without_kernel_or_device_nothing_is_tried(machine, monkeypatch):
    probe_with(machine, monkeypatch, BOOTS)
    assert kvm_boots(machine / "cache", machine / "none") is False
    monkeypatch.setattr(acceleration, "_DEVICE", machine / "kvm")
    assert ask(machine) is False
    assert not (machine / "tries").exists()


def test_the_probe_is_a_kernel_alone_under_kvm(tmp_path):
    words = acceleration.probe_command(tmp_path / "vmlinuz")
    assert ("-accel", "kvm") in pairwise(words)
    assert ("-kernel", f"{tmp_path}/vmlinuz") in pairwise(words)
    assert "-no-reboot" in words
