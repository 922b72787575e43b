"""pytest fixtures of the lab: ``lab``, ``mirror``, ``host`` (per module), ``fresh_host`` (per test)."""

from __future__ import annotations

import os
import re
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.host import LabHost, known_names, remove_host, start_host
from tests.lab.layout import Lab, open_lab
from tests.lab.mirror_daemon import ensure_mirror, mirror_client
from tests.lab.system import reason_to_skip_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.content import Content
    from tests.lab.mirror_client import MirrorClient

_numbers = count(1)


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The lab; its tests are skipped where no host can be started."""
    if reason := reason_to_skip_hosts():
        pytest.skip(reason)
    lab = open_lab()
    _remove_abandoned(lab)
    return lab


def _remove_abandoned(lab: Lab) -> None:
    """Take away the hosts of test runs that were killed."""
    for name in known_names(lab):
        match = re.fullmatch(r"test-(\d+)-\d+", name)
        if match and not Path(f"/proc/{match[1]}").exists():
            remove_host(lab, name)


@pytest.fixture(scope="session")
def content(lab: Lab) -> Content:
    """The lab's model, conda channel and wheels, built when they are missing."""
    from tests.lab.content import ensure_content

    return ensure_content(lab.directory)


@pytest.fixture(scope="session")
def mirror(lab: Lab) -> MirrorClient:
    """The lab's own mirror, shared with everything else in the lab: give faults a ``client``."""
    ensure_mirror(lab)
    return mirror_client(lab)


@pytest.fixture
def fresh_host(lab: Lab) -> Iterator[LabHost]:
    """A host of this test's own, as if just installed."""
    with start_host(lab, unique_name()) as host:
        yield host


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[LabHost]:
    """One host for all tests of a module; ``host.reset()`` takes 1 s."""
    with start_host(lab, unique_name()) as host:
        yield host


def unique_name() -> str:
    """A host name that no other test run on this machine uses at the same time."""
    return f"test-{os.getpid()}-{next(_numbers)}"
