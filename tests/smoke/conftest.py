"""Which machines the smoke suite looks at: ``pytest tests/smoke --box NAME [--ssh-config FILE]``.

Without a file of ssh's settings, Vagrant is asked how its box of that name is reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.smoke.box import Box, vagrant_ssh_config

SUITE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--ssh-config`` is testinfra's own option."""
    parser.addoption("--box", action="append", default=[], help="name of a machine; repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Who asks for this suite names a machine: without one nothing could be red."""
    asked = (Path(argument.partition("::")[0]).absolute() for argument in config.args)
    if any(path.is_relative_to(SUITE) for path in asked) and not config.getoption("--box", default=[]):
        raise pytest.UsageError("no machine is named: pytest tests/smoke --box NAME")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Runs of all tests leave the suite out."""
    return None if config.getoption("--box", default=[]) else True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("box", metafunc.config.getoption("--box"), indirect=True, scope="session")


@pytest.fixture(scope="session")
def box(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Box:
    folder = tmp_path_factory.mktemp("box")
    given = request.config.getoption("--ssh-config")
    if not given:
        given = folder / "ssh_config"
        given.write_text(vagrant_ssh_config(request.param))
    return Box(request.param, Path(given).absolute(), folder)


@pytest.fixture(scope="session")
def report(box: Box) -> dict[str, Any]:
    """What ``localai-deploy verify`` says of the box."""
    return box.verify()
