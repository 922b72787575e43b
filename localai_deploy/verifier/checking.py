"""What a check is made of: its id and title, its evidence, and the ways to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NoReturn, TypeAlias, TypeVar

import pytest

from localai_deploy.verifier.events import EventWriter
from localai_deploy.verifier.report import JSON

_DECLARATION = "localai_check"

Check = TypeVar("Check", bound=Callable[..., None])

Evidence: TypeAlias = dict[str, JSON]
"""Plain data that a check leaves in the report; never a secret."""

EVIDENCE = pytest.StashKey[Evidence]()
EVENTS = pytest.StashKey[EventWriter]()


def check(check_id: str, title: str) -> Callable[[Check], Check]:
    """Declare a test function as the check ``check_id``; ``title`` says what holds when it passes."""

    def declare(function: Check) -> Check:
        setattr(function, _DECLARATION, (check_id, title))
        return function

    return declare


def declaration(function: object) -> tuple[str, str] | None:
    """Id and title of a check; None for a function that is none."""
    return getattr(function, _DECLARATION, None)


def fail(detail: str) -> NoReturn:
    """End the check: it found what must not be."""
    pytest.fail(detail, pytrace=False)


def skip(reason: str) -> NoReturn:
    """End the check: it cannot be made here."""
    pytest.skip(reason)


def expect_none(problems: Iterable[str]) -> None:
    """Fail with all ``problems``, if there are any."""
    found = list(problems)
    if found:
        fail("; ".join(found))
