"""One host that all role tests share: looked at while clean, converged twice, kept as a snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.roles.deployment import ORDER, deployment
from tests.roles.driver import Driver, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient
    from tests.lab.state import Entry

CONVERGED = "converged"


@dataclass(frozen=True, slots=True)
class Chain:
    """The shared host with the runs that brought it where it is."""

    host: LabHost
    driver: Driver
    variables: Mapping[str, Any]
    clean: Mapping[str, Entry]
    undone: Run
    foreseen: Run
    after_check: Mapping[str, Entry]
    first: Run
    second: Run
    foreseen_again: Run


@pytest.fixture(scope="session")
def chain(lab: Lab, mirror: MirrorClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    variables = deployment(lab, mirror)
    with start_host(lab, unique_name()) as host:
        driver = Driver.prepare(host, tmp_path_factory.mktemp("ansible"))
        undone = driver.uninstall(ORDER, {})
        clean = host.state()
        foreseen = driver.converge(ORDER, variables, check=True)
        after_check = host.state()
        first = driver.converge(ORDER, variables)
        second = driver.converge(ORDER, variables)
        foreseen_again = driver.converge(ORDER, variables, check=True)
        host.snapshot(CONVERGED)
        yield Chain(
            host, driver, variables, clean, undone, foreseen, after_check, first, second, foreseen_again
        )


@pytest.fixture
def scratch(chain: Chain) -> Iterator[Chain]:
    """The converged host, for a test that leaves it otherwise."""
    yield chain
    chain.host.reset(CONVERGED)
