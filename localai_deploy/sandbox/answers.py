"""Errors of the API as values: status, reason and per-field texts."""

from __future__ import annotations


class ApiError(Exception):
    """An answer other than 200; `errors` names the bad parameters, `bare` means no body at all."""

    def __init__(
        self,
        status: int,
        reason: str,
        *,
        errors: dict[str, str] | None = None,
        bare: bool = False,
        newline: bool = True,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.errors = errors
        self.bare = bare
        self.newline = newline


def died(text: str) -> ApiError:
    """The server's code gave up with this text: a 500."""
    return ApiError(500, text)


def bad_parameters(errors: dict[str, str]) -> ApiError:
    """The 400 of the parameter check; keys are parameter names."""
    return ApiError(400, "Parameter verification failed.", errors=errors)


def forbidden(detail: str = "") -> ApiError:
    """The 403 of the privilege check; `detail` is "PATH, PRIVILEGE" or empty."""
    return ApiError(403, f"Permission check failed ({detail})" if detail else "Permission check failed")


def unauthorized(reason: str, *, bare: bool = True) -> ApiError:
    """A 401; without a body unless it comes from the ticket call."""
    return ApiError(401, reason, bare=bare)
