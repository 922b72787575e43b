"""pytest plugin of the checks: which hosts, and every result told as it comes."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from localai_deploy.verifier.checking import EVENTS, EVIDENCE, declaration
from localai_deploy.verifier.events import CheckProgress, EventWriter
from localai_deploy.verifier.expectations import ExpectationsInvalid
from localai_deploy.verifier.report import CheckResult, Outcome
from localai_deploy.verifier.scope import OPTIONS
from localai_deploy.verifier.target import ProbeFailed

pytest_plugins = ["localai_deploy.verifier.fixtures"]

_SETUP_S = pytest.StashKey[float]()
_OUTCOMES = {"passed": Outcome.PASS, "skipped": Outcome.SKIP}
_EXPECTED_ENDS = (ProbeFailed, ExpectationsInvalid, pytest.fail.Exception, pytest.skip.Exception)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options that :mod:`localai_deploy.verifier.run` gives."""
    group = parser.getgroup("localai-deploy")
    group.addoption("--localai-host", action="append", default=[], help="host of the inventory; repeatable")
    for fixture, option in OPTIONS.items():
        group.addoption(option, action="append", default=[], dest=fixture, help=f"its checks use {fixture}")
    group.addoption("--localai-events-fd", type=int, required=True, help="descriptor that takes the events")


def pytest_configure(config: pytest.Config) -> None:
    """Open the way back to the parent."""
    config.stash[EVENTS] = EventWriter(config.getoption("--localai-events-fd"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every check runs on every host, all checks of one host before the next."""
    hosts = metafunc.config.getoption("--localai-host")
    metafunc.parametrize("target", hosts, indirect=True, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Checks of devices, cards and speed run on the hosts that were named for them."""
    items[:] = [one for one in items if _is_wanted(one, config)]


def _is_wanted(item: pytest.Item, config: pytest.Config) -> bool:
    names = item.fixturenames if isinstance(item, pytest.Function) else ()
    return all(describe(item).host in config.getoption(one) for one in OPTIONS if one in names)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell what will run, so that a check that goes missing is noticed."""
    session.config.stash[EVENTS].planned([describe(item) for item in session.items])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tell which check begins."""
    item.stash[EVIDENCE] = {}
    item.config.stash[EVENTS].progress(describe(item))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell a result when the check ended, or could not begin."""
    report = yield
    if report.when == "setup":
        item.stash[_SETUP_S] = report.duration
    if report.when == "call" or (report.when == "setup" and not report.passed):
        item.config.stash[EVENTS].result(result_of(item, report, call.excinfo))
    return report


def describe(item: pytest.Item) -> CheckProgress:
    """The check's id and title and its host; UsageError for a test that is not declared as a check."""
    if isinstance(item, pytest.Function) and (declared := declaration(item.function)):
        return CheckProgress(str(item.callspec.params["target"]), *declared)
    raise pytest.UsageError(f"{item.nodeid} is no check: it lacks @check(id, title)")


def result_of(
    item: pytest.Item, report: pytest.TestReport, excinfo: pytest.ExceptionInfo[BaseException] | None
) -> CheckResult:
    """The check's result; whatever is neither a pass nor a skip is a failure."""
    check, evidence = describe(item), item.stash[EVIDENCE]
    setup_s = 0.0 if report.when == "setup" else item.stash[_SETUP_S]
    return CheckResult(
        host=check.host,
        check_id=check.check_id,
        title=check.title,
        outcome=_OUTCOMES.get(report.outcome, Outcome.FAIL),
        detail=explain(excinfo),
        evidence=evidence,
        duration_s=round(setup_s + report.duration, 3),
    )


def explain(excinfo: pytest.ExceptionInfo[BaseException] | None) -> str:
    """What the exception says; its type too where it is a fault of the check itself."""
    if excinfo is None:
        return ""
    error = excinfo.value
    text = str(getattr(error, "msg", "") or error)
    return text if isinstance(error, _EXPECTED_ENDS) else f"{type(error).__name__}: {text}"
