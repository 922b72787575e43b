"""A report passes only on what was seen to pass, and every shape of it says the same."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from localai_deploy.verifier.report import CheckResult, Outcome, Report


def result(outcome: Outcome, host: str = "alpha", check_id: str = "health", detail: str = "") -> CheckResult:
    reason = detail or ("" if outcome is Outcome.PASS else "because")
    return CheckResult(host, check_id, "it is well", outcome, reason, {"status": 200}, 0.25)


PASS, FAIL, SKIP = (result(outcome) for outcome in Outcome)


@pytest.mark.parametrize(
    ("report", "passed"),
    [
        (Report((PASS,)), True),
        (Report((PASS, SKIP)), True),
        (Report(()), False),
        (Report((), ("alpha",)), False),
        (Report((SKIP,)), False),
        (Report((PASS, FAIL)), False),
        (Report((PASS,), ("alpha", "beta")), False),
        (Report((PASS, result(Outcome.SKIP, "beta"))), False),
        (Report((PASS, result(Outcome.PASS, "beta"))), True),
    ],
)
def test_passed(report: Report, passed: bool) -> None:
    assert report.passed is passed
    assert report.to_data()["passed"] is passed


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.SKIP])
def test_a_reason_is_asked_for(outcome: Outcome) -> None:
    with pytest.raises(ValueError, match="without a reason"):
        CheckResult("alpha", "health", "it is well", outcome, " ")


def test_results_survive_json() -> None:
    for one in (PASS, FAIL, SKIP):
        assert CheckResult.from_data(json.loads(json.dumps(one.to_data()))) == one


def test_data() -> None:
    report = Report((PASS, result(Outcome.FAIL, "beta", "record", "gone")), ("alpha", "beta", "gamma"))
    assert json.loads(json.dumps(report.to_data())) == {
        "passed": False,
        "counts": {"pass": 1, "fail": 1, "skip": 0},
        "hosts": [
            {
                "host": "alpha",
                "passed": True,
                "counts": {"pass": 1, "fail": 0, "skip": 0},
                "checks": [
                    {
                        "id": "health",
                        "title": "it is well",
                        "outcome": "pass",
                        "detail": "",
                        "evidence": {"status": 200},
                        "duration_s": 0.25,
                    }
                ],
            },
            {
                "host": "beta",
                "passed": False,
                "counts": {"pass": 0, "fail": 1, "skip": 0},
                "checks": [
                    {
                        "id": "record",
                        "title": "it is well",
                        "outcome": "fail",
                        "detail": "gone",
                        "evidence": {"status": 200},
                        "duration_s": 0.25,
                    }
                ],
            },
            {
                "host": "gamma",
                "passed": False,
                "counts": {"pass": 0, "fail": 0, "skip": 0},
                "checks": [],
            },
        ],
    }


def test_junit() -> None:
    report = Report((PASS, SKIP, result(Outcome.FAIL, "beta", "record", 'no "x" <here>')), ("alpha", "beta"))
    root = ElementTree.fromstring(report.junit_xml())
    assert [root.get(name) for name in ("tests", "failures", "skipped")] == ["3", "1", "1"]
    assert [suite.get("name") for suite in root] == ["alpha", "beta"]
    assert [case.get("name") for case in root.iter("testcase")] == [
        "health: it is well",
        "health: it is well",
        "record: it is well",
    ]
    assert [one.get("message") for one in root.iter("failure")] == ['no "x" <here>']
    assert [one.get("message") for one in root.iter("skipped")] == ["because"]


def test_junit_counts_a_silent_host_as_failed() -> None:
    root = ElementTree.fromstring(Report((PASS,), ("alpha", "beta")).junit_xml())
    assert root.get("failures") == "1"
    assert [suite.get("failures") for suite in root] == ["0", "1"]


def test_junit_holds_text_that_xml_cannot() -> None:
    report = Report((result(Outcome.FAIL, detail="bad \x00\x1b[31m \ud800 end"),))
    (failure,) = ElementTree.fromstring(report.junit_xml()).iter("failure")
    assert failure.get("message") == "bad \ufffd\ufffd[31m \ufffd end"


def test_find() -> None:
    report = Report((PASS, result(Outcome.PASS, "beta")))
    found = report.find("beta", "health")
    assert found is not None
    assert found.host == "beta"
    assert report.find("beta", "record") is None
