"""An executor that answers from a list and keeps what it was asked."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field

from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import DEFAULT_TIMEOUT_S, Completed


@dataclass(frozen=True, slots=True)
class Call:
    """One command as it was given."""

    argv: tuple[str, ...]
    stdin: bytes
    sudo: bool


@dataclass
class Recording:
    """Implements :class:`localai_deploy.targets.executor.Executor`; an answer too few is a failure."""

    answers: list[Completed | LocalaiError] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        sudo: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Completed:
        del timeout_s
        self.calls.append(Call(tuple(argv), stdin, sudo))
        answer = self.answers.pop(0)
        if isinstance(answer, LocalaiError):
            raise answer
        return answer

    def open(self, argv: Sequence[str]) -> subprocess.Popen[bytes]:
        raise AssertionError(f"not expected: {argv}")
