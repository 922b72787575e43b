"""One look-up for all who ask alike, at once or later."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from localai_deploy.domain.shared_answers import SharedAnswers
from localai_deploy.errors import LocalaiError


def test_all_who_ask_at_once_wait_for_one_look_up() -> None:
    answers, looked, together = SharedAnswers(), [], Barrier(4)

    def look_up() -> str:
        looked.append("once")
        return "found"

    def ask(_: int) -> str:
        together.wait(10)
        return answers.of("what", look_up)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["found"] * 4
    assert answers.of("what", look_up) == "found"
    assert looked == ["once"]
    assert answers.of("else", lambda: "other") == "other"


def test_an_error_is_everybodys() -> None:
    answers, looked = SharedAnswers(), []

    def fail() -> None:
        looked.append("once")
        raise LocalaiError("channel-unreachable", "no answer")

    for _ in range(2):
        with pytest.raises(LocalaiError, match="no answer"):
            answers.of("what", fail)
    assert looked == ["once"]
