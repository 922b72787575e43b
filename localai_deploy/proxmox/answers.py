"""The server's errors as ours. The message is in the HTTP reason; 400 also names fields."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.proxmox.rules import rule_for

_CUT_OFF = re.compile(r"^(unexpected status|unable to (open|read)\b.*)?$")
_NAMES_THE_CAUSE = frozenset({"pve-storage-full", "pve-memory-short"})


@dataclass(frozen=True, slots=True)
class Refusal:
    """One failed call.

    :param status: HTTP status; 595 to 599 come from a node's proxy.
    :param reason: the server's message.
    :param fields: parameter → complaint, of a 400.
    """

    call: str
    status: int
    reason: str
    fields: Mapping[str, str]


def error_of(refusal: Refusal) -> LocalaiError:
    """The server's refusal in our shape."""
    if refusal.status == 400:
        return _bad_parameter(refusal)
    if refusal.status == 401:
        return _error(
            "pve-auth-failed",
            refusal,
            "check PROXMOX_USER, PROXMOX_TOKEN_ID and PROXMOX_TOKEN_SECRET; an expired token looks the same",
        )
    if refusal.status == 403:
        return _error("pve-forbidden", refusal, _rights_hint(refusal))
    if refusal.status == 404:
        return _error("pve-answer-unreadable", refusal, "is that host and port a Proxmox node's?")
    if refusal.status == 501:
        return _error("pve-path-unknown", refusal, "is this Proxmox VE 8 or newer?")
    if refusal.status in {429, 502, 503, 504}:
        return _error("pve-overloaded", refusal, "look at the node's load and its pveproxy, then run again")
    if 595 <= refusal.status <= 599:
        return _error(
            "pve-node-offline", refusal, "the node that was asked does not reach the one that is meant"
        )
    return error_from_text(refusal.call, refusal.reason, refusal.status)


def error_from_text(call: str, text: str, status: int = 500) -> LocalaiError:
    """An error out of the message of a 500."""
    rule = rule_for(text)
    if rule is not None:
        return LocalaiError(rule.error_id, f"{call}: {text.strip()}", hint=rule.hint)
    return LocalaiError(
        "pve-failed",
        f"{call} failed",
        why=f"{text.strip()} (status {status})",
        exit_code=ExitCode.FAILED,
    )


def error_of_task(task: str, exitstatus: str, log: Sequence[str]) -> LocalaiError:
    """An error out of a task's exit status; where that says little, the end of its log is asked."""
    if _CUT_OFF.match(exitstatus):
        return LocalaiError(
            "pve-task-cut-off",
            f"{task} was cut off: nobody knows how far it came",
            why=exitstatus or "the node does not say how it ended",
            hint="the node was restarted, or the job killed; run again: what is done is seen",
            exit_code=ExitCode.PARTIAL,
        )
    cause, rule = _cause_in(log), rule_for(exitstatus)
    if cause is not None and (rule is None or rule.error_id == "pve-start-failed"):
        return _with_log(error_from_text(task, f"{exitstatus.strip()}: {cause.strip()}"), log)
    return _with_log(error_from_text(task, exitstatus), log)


def _cause_in(log: Sequence[str]) -> str | None:
    """A line that names what the exit status of an outer command hides."""
    for line in log:
        rule = rule_for(line)
        if rule is not None and rule.error_id in _NAMES_THE_CAUSE:
            return line
    return None


def _with_log(error: LocalaiError, log: Sequence[str]) -> LocalaiError:
    told = [line for line in log if line.strip() and not line.startswith("TASK ERROR")]
    error.why = "\n".join([*([error.why] if error.why else []), *told])
    return error


def _bad_parameter(refusal: Refusal) -> LocalaiError:
    """A 400; some of its complaints are about the world and not about a value."""
    named = "; ".join(f"{name}: {text.strip()}" for name, text in sorted(refusal.fields.items()))
    rule = rule_for(named or refusal.reason)
    if rule is not None:
        return LocalaiError(rule.error_id, f"{refusal.call}: {named or refusal.reason}", hint=rule.hint)
    return LocalaiError(
        "pve-bad-parameter",
        f"{refusal.call}: the server refuses a parameter",
        why=named or refusal.reason,
        hint="if it comes from your inventory, correct it; else this is a bug of ours",
    )


def _error(error_id: str, refusal: Refusal, hint: str) -> LocalaiError:
    return LocalaiError(error_id, f"{refusal.call}: {refusal.reason.strip() or refusal.status}", hint=hint)


_UNNAMED = (
    (re.compile(r"POST /nodes/[^/]+/qemu(?:/\d+/clone)?"), "VM.Allocate on /pool/localai"),
    (
        re.compile(
            r"(?:POST /nodes/([^/]+)/storage/[^/]+/download-url|GET /nodes/([^/]+)/query-url-metadata)"
        ),
        r"Sys.AccessNetwork on /nodes/\1\2",
    ),
)
"""Calls whose refusal names neither path nor privilege, and what they ask for."""


def _rights_hint(refusal: Refusal) -> str:
    match = re.search(r"Permission check failed \(([^,]+), ([^)]+)\)", refusal.reason)
    if match:
        return f"the token lacks {match[2]} on {match[1]}"
    for call, right in _UNNAMED:
        if found := call.fullmatch(refusal.call):
            return f"the token lacks {found.expand(right)}"
    return "the token lacks a privilege that the server does not name"
