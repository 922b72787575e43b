"""What a check is made of: its id and title, its evidence, and the ways to end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn, TypeAlias

import pytest

from localai_deploy.verifier.events import EventWriter
from localai_deploy.verifier.report import JSON

MARKER = "localai_check"

Evidence: TypeAlias = dict[str, JSON]
"""Plain data that a check leaves in the report; never a secret."""

EVIDENCE = pytest.StashKey[Evidence]()
EVENTS = pytest.StashKey[EventWriter]()


def check(check_id: str, title: str) -> pytest.MarkDecorator:
    """Declare a test function as the check ``check_id``; ``title`` says what holds when it passes."""
    return getattr(pytest.mark, MARKER)(check_id, title)  # type: ignore[no-any-return]


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
