"""The program that switches systemd on in wsl.conf and takes that back: nothing else is lost or changed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[3] / "playbooks" / "roles" / "base" / "files" / "wsl_conf.py"
OTHERS = '# mine\r\n[user]\ndefault=ann\n\n[automount]\noptions = "metadata"\n'
FILES = {
    "without a final line end": "[user]\ndefault=ann",
    "other sections": OTHERS,
    "boot without systemd": f'[boot]\ncommand="service ssh start"\n{OTHERS}',
    "off": f"{OTHERS}\n[boot]\ncommand=x\nsystemd=false # slow\n",
    "off twice": "[boot]\nsystemd=false\n[user]\ndefault=a\n[boot]\nSystemd = 0\n",
    "commented out": "[boot]\n# systemd=true\n",
    "no text": "\xff\xfe".encode("latin-1").decode("latin-1"),
    "empty": "",
}


class Place:
    """A folder with a wsl.conf and one of records."""

    def __init__(self, folder: Path) -> None:
        self.conf, self.records = folder / "wsl.conf", folder / "records"
        self.records.mkdir()

    def run(self, command: str, *options: str) -> dict[str, object]:
        words = [command, str(self.records), "--conf", str(self.conf), *options]
        done = subprocess.run([sys.executable, str(PROGRAM), *words], capture_output=True, text=True)
        assert done.returncode == (3 if command == "restart" else 0), done.stderr
        return dict(json.loads(done.stdout))

    def on(self, *options: str) -> bool:
        return bool(self.run("on", *options)["changed"])

    def restore(self, *options: str) -> bool:
        return bool(self.run("restore", *options)["changed"])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_file_is_made_and_taken_away(place: Place) -> None:
    assert place.on()
    assert place.conf.read_text() == "[boot]\nsystemd=true\n"
    assert not place.on()
    assert place.restore()
    assert not place.conf.exists()
    assert list(place.records.iterdir()) == []
    assert not place.restore()


@pytest.mark.parametrize("text", FILES.values(), ids=FILES.keys())
def test_the_other_lines_stay_and_the_file_comes_back(place: Place, text: str) -> None:
    before = text.encode("latin-1")
    place.conf.write_bytes(before)
    place.conf.chmod(0o640)
    assert place.on("--check")
    assert place.conf.read_bytes() == before
    assert place.on()
    lines = place.conf.read_bytes().splitlines()
    kept = [line for line in before.splitlines() if b"ystemd" not in line or line.startswith(b"#")]
    assert [line for line in lines if line in kept] == kept
    assert [line for line in lines if line not in kept] in ([b"systemd=true"], [b"systemd=true"] * 2, BOTH)
    assert place.conf.stat().st_mode & 0o777 == 0o640
    assert place.restore("--check")
    assert place.restore()
    assert place.conf.read_bytes() == before
    assert place.conf.stat().st_mode & 0o777 == 0o640
    assert list(place.records.iterdir()) == []


BOTH = [b"[boot]", b"systemd=true"]


@pytest.mark.parametrize(
    "text", ["[boot]\nsystemd=true\n", "[Boot]\r\nsystemd = TRUE\r\n", "[boot]\nsystemd=1"]
)
def test_one_that_is_on_is_left_alone(place: Place, text: str) -> None:
    place.conf.write_bytes(text.encode())
    assert not place.on()
    assert place.conf.read_bytes() == text.encode()
    assert not place.restore()


def test_what_somebody_changed_since_stays(place: Place) -> None:
    place.conf.write_text("[boot]\nsystemd=false\n[user]\ndefault=ann\n")
    place.on()
    place.conf.write_text(place.conf.read_text().replace("ann", "bob") + "[network]\nhostname=den\n")
    assert place.restore()
    assert place.conf.read_text() == "[boot]\nsystemd=false\n[user]\ndefault=bob\n[network]\nhostname=den\n"


def test_of_a_file_that_was_ours_what_somebody_added_stays(place: Place) -> None:
    place.on()
    place.conf.write_text(place.conf.read_text() + "[user]\ndefault=ann\n")
    assert place.restore()
    assert place.conf.read_text() == "[user]\ndefault=ann\n"


def test_a_file_that_somebody_removed_stays_away(place: Place) -> None:
    place.conf.write_text("[boot]\nsystemd=false\n")
    place.on()
    place.conf.unlink()
    assert place.restore()
    assert not place.conf.exists()


def test_switched_off_by_somebody_and_on_again_by_us(place: Place) -> None:
    place.conf.write_text("[user]\ndefault=ann\n")
    place.on()
    place.conf.write_text("[user]\ndefault=bob\n[boot]\nsystemd=false\n")
    assert place.on()
    assert place.restore()
    assert place.conf.read_text() == "[user]\ndefault=bob\n"


def test_a_link_stays_a_link(place: Place) -> None:
    real = place.conf.with_name("dotfiles.conf")
    real.write_text("[user]\ndefault=ann\n")
    place.conf.symlink_to(real)
    place.on()
    assert place.conf.is_symlink()
    assert "systemd=true" in real.read_text()
    place.restore()
    assert (place.conf.is_symlink(), real.read_text()) == (True, "[user]\ndefault=ann\n")


def test_the_restart_is_explained(place: Place) -> None:
    told = place.run("restart")
    assert told["error_id"] == "wsl-restart-needed"
    assert "wsl.exe --terminate" in str(told["hint"])
