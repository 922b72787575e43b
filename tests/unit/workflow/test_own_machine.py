from __future__ import annotations

from pathlib import Path

import pytest

from localai_deploy.workflow.own_machine import own_machine


def device(root: Path, address: str, **files: str) -> None:
    folder = root / "sys" / "bus" / "pci" / "devices" / address
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_text(content + "\n")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    ids = {"vendor": "0x10de", "subsystem_vendor": "0x1458", "subsystem_device": "0x403b"}
    device(tmp_path, "0000:01:00.0", **{"class": "0x030000", "device": "0x2204"}, **ids)
    device(tmp_path, "0000:01:00.1", **{"class": "0x040300", "device": "0x1aef"}, **ids)
    device(tmp_path, "0000:02:00.0", **{"class": "0x030000", "vendor": "0x8086", "device": "0x4680"})
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 1024 kB\n")
    (tmp_path / "bin").mkdir()
    return tmp_path


def program(root: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    path = root / "bin" / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{root / 'bin'}:/usr/bin:/bin")


def test_without_a_driver_cards_are_nominal(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(root, monkeypatch, "exit 9")
    found = own_machine(root)
    assert [(card.name, card.memory_bytes) for card in found.cards] == [("NVIDIA GeForce RTX 3090", 24 << 30)]
    assert found.ram_bytes == 1 << 20


def test_the_driver_knows_better(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(root, monkeypatch, "echo '0x220410DE, 0x403B1458, 24000, NVIDIA GeForce RTX 3090'")
    assert own_machine(root).cards[0].memory_bytes == 24000 << 20


def test_a_machine_without_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_machine(tmp_path).cards == ()
