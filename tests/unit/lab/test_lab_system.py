"""What the lab asks of the machine."""

from __future__ import annotations

from pathlib import Path

from tests.lab.system import missing_packages, reason_to_skip_hosts, system_packages, vagrant_packages

ROOT = Path(__file__).resolve().parents[3]


def test_setup_installs_what_the_lab_needs():
    words = (ROOT / "bin" / "setup").read_text().replace("(", " ").replace(")", " ").split()
    needed = (*system_packages(), *vagrant_packages())
    assert [package for package in needed if package not in words] == []


def test_a_missing_command_is_named_by_its_package(monkeypatch):
    monkeypatch.setattr("tests.lab.system.os.geteuid", lambda: 0)
    monkeypatch.setattr("tests.lab.system.shutil.which", lambda command: None if command == "ip" else command)
    assert missing_packages() == ("iproute2",)
    assert reason_to_skip_hosts() == "apt packages missing for throw-away hosts: iproute2"


def test_hosts_need_root(monkeypatch):
    monkeypatch.setattr("tests.lab.system.os.geteuid", lambda: 1000)
    assert "need root" in reason_to_skip_hosts()
