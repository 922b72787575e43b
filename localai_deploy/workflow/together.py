"""One question to several hosts at once: a host that cannot answer does not keep the others from it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.spec import FORKS
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.inventory.specs import InventoryHost

T = TypeVar("T")

_LAST_WORD_S = 5.0


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """One host's answer, or the error that stood in its place."""

    host: InventoryHost
    value: T | None = None
    error: LocalaiError | None = None


def ask_each(
    hosts: Sequence[InventoryHost], question: Callable[[InventoryHost], T], forks: int = FORKS
) -> list[Answer[T]]:
    """Answers in the order of ``hosts``.

    :raises LocalaiError: malformed input, or what a host that is asked alone answered.
    """
    answers = ask_all(hosts, question, forks)
    for answer in answers:
        if answer.error and (len(hosts) == 1 or answer.error.exit_code is ExitCode.MALFORMED):
            raise answer.error
    return answers


def ask_all(
    hosts: Sequence[InventoryHost], question: Callable[[InventoryHost], T], forks: int = FORKS
) -> list[Answer[T]]:
    """Answers in the order of ``hosts``; every expected failure is one of them."""
    answers: dict[str, Answer[T]] = {}
    faults: list[BaseException] = []
    turns = threading.Semaphore(forks)

    def ask(host: InventoryHost) -> None:
        with turns:
            try:
                answers[host.name] = _answer(host, question)
            except BaseException as fault:  # noqa: BLE001 - raised again by the asking thread
                faults.append(fault)

    _run_all([threading.Thread(target=ask, args=(host,), daemon=True) for host in hosts])
    if faults:
        raise faults[0]
    return [answers[host.name] for host in hosts]


def _answer(host: InventoryHost, question: Callable[[InventoryHost], T]) -> Answer[T]:
    try:
        return Answer(host, question(host))
    except LocalaiError as error:
        tell_place(host, error)
        return Answer(host, error=error)


def tell_place(host: InventoryHost, error: LocalaiError) -> None:
    """Say in an error where the inventory has the host, or the password that was wrong."""
    place, thing = host.place, "it"
    if error.error_id == "sudo-password-wrong" and host.secrets.become_source:
        place, thing = host.secrets.become_source, "the password"
    if place and place not in error.why:
        error.why = _with_line(error.why, host, place, thing)
    if error.error_id == "host-unknown" and not place and Path(host.name).is_dir():
        error.hint = f"{host.name} is a folder here: an inventory is named by -i {host.name}"


def findings_with_place(host: InventoryHost, findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The same findings; what blocks says where the inventory has the host."""
    return tuple(
        replace(one, why=_with_line(one.why, host, host.place))
        if host.place and one.severity is Severity.BLOCKER
        else one
        for one in findings
    )


def _with_line(why: str, host: InventoryHost, place: str, thing: str = "it") -> str:
    where = f"the inventory has {thing} in {place}" if ":" in place else f"{thing} is from {place}"
    return "\n".join(filter(None, (why, f"{host.name}: {where}")))


def _run_all(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        _end_children()
        for thread in threads:
            thread.join(_LAST_WORD_S / len(threads))
        raise


def _end_children() -> None:
    """End the connections that are being made: they are in sessions of their own and hear of no Ctrl-C."""
    for children in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for pid in children.read_text(encoding="ascii").split():
                os.kill(int(pid), signal.SIGTERM)
