"""What several hosts of a run ask alike is looked up once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class SharedAnswers:
    """Answers by question: the first who asks looks it up, others wait for that, and get its error too."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._answers: dict[Hashable, Future[Any]] = {}

    def of(self, question: Hashable, look_up: Callable[[], T]) -> T:
        """The answer to a question; equal questions must be looked up in the same way.

        :raises Exception: what ``look_up`` raised, to whoever asks.
        """
        with self._lock:
            is_first = question not in self._answers
            answer: Future[T] = self._answers.setdefault(question, Future())
        if is_first:
            try:
                answer.set_result(look_up())
            except BaseException as error:  # noqa: BLE001 - raised below, to all who wait
                answer.set_exception(error)
        return answer.result()
