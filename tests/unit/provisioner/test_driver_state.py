"""How the role calls its program: options between command and names, on every Python that hosts have."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).parents[3] / "playbooks" / "roles" / "nvidia_driver" / "files" / "driver_state.py"


def test_names_may_follow_options(tmp_path: Path) -> None:
    """Before Python 3.12 argparse takes positionals that follow an option for too many."""
    key = tmp_path / "key"
    key.write_text("no key")
    words = ["key", "--kernel", "6.1.0-56-amd64", "--signed", str(key), "A" * 40]
    done = subprocess.run([sys.executable, str(PROGRAM), *words], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["error_id"] == "driver-key-wrong"


KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
DEB822 = f"""# Debian's own
Types: deb
URIs: http://deb.debian.org/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: {KEYRING}

Types: deb
URIs: mirror+file:///etc/apt/mirrors/debian-security.list
Suites: bookworm-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mQINBF
"""
LINES = f"""deb [arch=amd64 signed-by={KEYRING}] http://deb.debian.org/debian/ bookworm main
deb http://deb.debian.org/debian bookworm-updates main
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = spec_from_file_location("driver_state", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / "sources.list.d").mkdir()
    monkeypatch.setattr(module, "APT", tmp_path)
    monkeypatch.setattr(module, "OUR_SOURCE", tmp_path / "none")
    monkeypatch.setattr(module, "_release", lambda: {"ID": "debian", "VERSION_CODENAME": "bookworm"})
    return module


def test_keys_of_sources_are_read_from_both_kinds_of_files(program: Any) -> None:
    (program.APT / "sources.list.d" / "debian.sources").write_text(DEB822)
    keys = program.signing_keys()
    assert keys["http:/deb.debian.org/debian", "bookworm-updates"] == KEYRING
    embedded = keys["mirror+file:/etc/apt/mirrors/debian-security.list", "bookworm-security"]
    assert embedded == "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF"
    (program.APT / "sources.list.d" / "debian.sources").unlink()
    (program.APT / "sources.list").write_text(LINES)
    assert program.signing_keys() == {("http:/deb.debian.org/debian", "bookworm"): KEYRING}


def test_our_source_has_the_key_of_the_distributions_where_apt_does_not_tell_it(
    program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program.APT / "sources.list.d" / "debian.sources").write_text(DEB822)
    told = {"Component": "main", "Release": "bookworm", "Repo-URI": "http://deb.debian.org/debian/"}
    monkeypatch.setattr(program, "_targets", lambda: iter([told]))
    assert program._sources() == (
        "Types: deb\nURIs: http://deb.debian.org/debian/\nSuites: bookworm\n"
        f"Components: contrib non-free non-free-firmware\nSigned-By: {KEYRING}\n"
    )
