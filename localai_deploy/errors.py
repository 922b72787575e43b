"""The one error shape of this project.

Every expected failure is a :class:`LocalaiError` with an id of the catalogue in
:mod:`localai_deploy.explanations`; only :mod:`localai_deploy.cli` renders it.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Process exit codes (docs/architecture.md)."""

    DONE = 0
    FAILED = 1
    MALFORMED = 2
    REFUSED = 3
    VERIFICATION_FAILED = 4
    PARTIAL = 5
    HELD = 6
    CHANGES = 10
    INTERRUPTED = 130


class LocalaiError(Exception):
    """An expected failure: what failed, why, and what to do next.

    :param error_id: id in the catalogue (``localai-deploy explain ID``).
    :param what: what failed, with the object named; one sentence, no full stop.
    :param why: the cause as far as it is known; may be empty.
    :param hint: what to do next; may be empty, may span lines.
    :param exit_code: how the process ends when nobody handles it.
    """

    def __init__(
        self,
        error_id: str,
        what: str,
        *,
        why: str = "",
        hint: str = "",
        exit_code: ExitCode = ExitCode.REFUSED,
    ) -> None:
        super().__init__(f"{what}: {why}" if why else what)
        self.error_id = error_id
        self.what = what
        self.why = why
        self.hint = hint
        self.exit_code = exit_code


class InputError(LocalaiError):
    """The user's input is malformed; nothing was looked at or changed (exit 2)."""

    def __init__(self, error_id: str, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(error_id, what, why=why, hint=hint, exit_code=ExitCode.MALFORMED)
