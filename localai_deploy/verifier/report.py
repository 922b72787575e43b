"""What verification found: one result per host and check, and what they amount to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias
from xml.etree import ElementTree

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Outcome(StrEnum):
    """How a check ended; an error inside a check is a failure."""

    PASS = "pass"  # noqa: S105 - no secret
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check on one host.

    :param detail: why it failed or was skipped; may be empty for a pass only.
    :param evidence: what was seen, as plain data without secrets.
    :raises ValueError: a failure or a skip without a reason.
    """

    host: str
    check_id: str
    title: str
    outcome: Outcome
    detail: str = ""
    evidence: Mapping[str, JSON] = field(default_factory=dict)
    duration_s: float = 0.0

    def __post_init__(self) -> None:
        if self.outcome is not Outcome.PASS and not self.detail.strip():
            raise ValueError(f"{self.check_id} on {self.host}: {self.outcome.value} without a reason")

    def to_data(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "outcome": self.outcome.value, "evidence": dict(self.evidence)}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> CheckResult:
        """Inverse of :meth:`to_data`; KeyError, TypeError or ValueError on foreign data."""
        return cls(**{**data, "outcome": Outcome(data["outcome"])})


@dataclass(frozen=True, slots=True)
class Report:
    """All results of a run, in the order in which they came.

    :param asked: hosts that were to be verified; one of them without a result has not passed.
    """

    results: tuple[CheckResult, ...]
    asked: tuple[str, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that was asked for or reported on."""
        return tuple(dict.fromkeys([*self.asked, *(result.host for result in self.results)]))

    @property
    def passed(self) -> bool:
        """Every host has something that passed and nothing that failed; no host at all is no pass."""
        return bool(self.hosts) and all(self.host_passed(host) for host in self.hosts)

    def host_passed(self, host: str) -> bool:
        """Whether at least one check passed on ``host`` and none failed."""
        counts = count_outcomes(self.of_host(host))
        return counts[Outcome.PASS] > 0 and counts[Outcome.FAIL] == 0

    def of_host(self, host: str) -> tuple[CheckResult, ...]:
        """Results of one host."""
        return tuple(result for result in self.results if result.host == host)

    def find(self, host: str, check_id: str) -> CheckResult | None:
        """Look up one check's result on one host."""
        return next((result for result in self.of_host(host) if result.check_id == check_id), None)

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """Results that failed."""
        return tuple(result for result in self.results if result.outcome is Outcome.FAIL)

    def to_data(self) -> dict[str, Any]:
        """Plain data of the ``verify`` JSON schema."""
        return {
            "passed": self.passed,
            "counts": count_data(self.results),
            "hosts": [
                {
                    "host": host,
                    "passed": self.host_passed(host),
                    "counts": count_data(self.of_host(host)),
                    "checks": [_check_data(result) for result in self.of_host(host)],
                }
                for host in self.hosts
            ],
        }

    def junit_xml(self) -> str:
        """JUnit XML: one test suite per host, one test case per check."""
        suites = {host: self.of_host(host) or (_nothing_reported(host),) for host in self.hosts}
        every = [result for results in suites.values() for result in results]
        root = ElementTree.Element("testsuites", _suite_attributes("localai-deploy verify", every))
        for host, results in suites.items():
            _add_suite(root, host, results)
        ElementTree.indent(root)
        return (
            '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"
        )


def count_outcomes(results: Sequence[CheckResult]) -> Counter[Outcome]:
    """How often each outcome occurs."""
    return Counter(result.outcome for result in results)


def count_data(results: Sequence[CheckResult]) -> dict[str, int]:
    """``{"pass": 13, "fail": 0, "skip": 1}``."""
    counts = count_outcomes(results)
    return {outcome.value: counts[outcome] for outcome in Outcome}


def _check_data(result: CheckResult) -> dict[str, Any]:
    data = result.to_data()
    del data["host"]
    data["id"] = data.pop("check_id")
    return data


def _suite_attributes(name: str, results: Sequence[CheckResult]) -> dict[str, str]:
    counts = count_outcomes(results)
    return {
        "name": _text(name),
        "tests": str(len(results)),
        "failures": str(counts[Outcome.FAIL]),
        "errors": "0",
        "skipped": str(counts[Outcome.SKIP]),
        "time": f"{sum(result.duration_s for result in results):.3f}",
    }


def _add_suite(root: ElementTree.Element, host: str, results: Sequence[CheckResult]) -> None:
    suite = ElementTree.SubElement(root, "testsuite", _suite_attributes(host, results))
    for result in results:
        attributes = {
            "classname": _text(host),
            "name": _text(f"{result.check_id}: {result.title}"),
            "time": f"{result.duration_s:.3f}",
        }
        case = ElementTree.SubElement(suite, "testcase", attributes)
        if result.outcome is not Outcome.PASS:
            tag = "failure" if result.outcome is Outcome.FAIL else "skipped"
            ElementTree.SubElement(case, tag, {"message": _text(result.detail)})


def _nothing_reported(host: str) -> CheckResult:
    """A reader of JUnit counts cases, so a host without results must show one that failed."""
    return CheckResult(host, "verifier", "the checks ran", Outcome.FAIL, "no check reported a result")


def _text(value: str) -> str:
    """XML 1.0 has no way to write most control characters."""
    return _NOT_XML.sub("\ufffd", value)
