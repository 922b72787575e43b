"""The miniforge provider, with a stand-in for its installer.

Miniforge itself cannot be had where these tests run. The stand-in is a real self-installing script with the
same options; its ``conda create`` reads the same explicit file and installs the same real packages.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.mirror_daemon import https_url
from tests.roles.deployment import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.layout import Lab
    from tests.roles.conftest import Chain

pytestmark = pytest.mark.host

ROOT = "/opt/localai-deploy/conda"
VERSION = "1.0-lab"
INSTALLER = r"""#!/bin/bash
set -euo pipefail
[ "$*" = "-b -u -p @ROOT@" ]
/usr/bin/python3 -m venv @ROOT@
@ROOT@/bin/python -m pip install -q --index-url @INDEX@ --trusted-host @HOST@ py-rattler==0.28.0
cat > @ROOT@/bin/conda <<'PROGRAM'
#!@ROOT@/bin/python
import asyncio, os, re, sys
from rattler import BuildString, PackageRecord, RepoDataRecord, install
words = sys.argv[1:]
assert words[:4] == ["create", "--yes", "--quiet", "--copy"], words
prefix, explicit = words[words.index("--prefix") + 1], words[words.index("--file") + 1]
first, *lines = open(explicit).read().split()
assert first == "@EXPLICIT"
def record(line):
    url, channel, subdir, file, sha256 = re.fullmatch(
        r"((.*)/([^/]+)/([^/]+))#sha256:([0-9a-f]{64})", line).groups()
    name, version, build = file.removesuffix(".conda").rsplit("-", 2)
    made = PackageRecord(name, version, BuildString(build), 0, subdir, sha256=bytes.fromhex(sha256))
    return RepoDataRecord(made, file, url, channel)
asyncio.run(install([record(l) for l in lines], prefix, cache_dir=os.environ["CONDA_PKGS_DIRS"],
                    show_progress=False))
PROGRAM
chmod 755 @ROOT@/bin/conda
"""
CHANGED = [
    "conda: Fetch the installer of Miniforge",
    "conda: Install Miniforge",
    "conda: Write the explicit list of packages",
    "conda: Install the locked packages",
    "conda: Remove what is needed only while installing",
]


@pytest.fixture
def variables(chain: Chain, lab: Lab) -> Iterator[dict[str, Any]]:
    """Role variables for the stand-in, which the mirror serves."""
    index = chain.variables["conda_pypi_index"]
    host = index.split("/")[2].split(":")[0]
    text = INSTALLER.replace("@ROOT@", ROOT).replace("@INDEX@", index).replace("@HOST@", host)
    release = lab.files / VERSION
    release.mkdir(exist_ok=True)
    installer = release / f"Miniforge3-{VERSION}-Linux-x86_64.sh"
    installer.write_text(text)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    yield {
        **chain.variables,
        "conda_provider": "miniforge",
        "conda_miniforge_url": f"{https_url(lab)}/files",
        "conda_miniforge_version": VERSION,
        "conda_miniforge_sha256": {"linux-64": sha256},
    }
    installer.unlink()
    release.rmdir()


def test_the_same_lock_by_the_other_provider(scratch: Chain, variables: dict[str, Any]) -> None:
    assert scratch.driver.converge(["conda"], variables).changed == []
    scratch.host.root("rm", "-r", PREFIX)
    assert scratch.driver.converge(["conda"], variables).changed == CHANGED
    assert scratch.driver.converge(["conda", "llama_cpp"], variables).changed == []
    assert scratch.host.root("ls", "/opt/localai-deploy").split() == ["conda", "envs"]
    back = scratch.driver.converge(["conda"], scratch.variables)
    assert back.changed == ["conda: Remove the provider that is no longer needed"]


def test_an_installer_of_another_hash_is_not_run(scratch: Chain, variables: dict[str, Any]) -> None:
    scratch.host.root("rm", "-r", PREFIX)
    wrong = {**variables, "conda_miniforge_sha256": {"linux-64": "0" * 64}}
    run = scratch.driver.converge(["conda"], wrong, good=False)
    assert run.failure["task"] == "Fetch the installer of Miniforge"
    assert "checksum" in run.failure["msg"]
