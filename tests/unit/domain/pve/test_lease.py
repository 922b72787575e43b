from __future__ import annotations

import pytest

from localai_deploy.domain.pve.lease import (
    LONGEST,
    Before,
    Holder,
    Lease,
    Was,
    own_words,
    read_leases,
    with_leases,
)
from localai_deploy.domain.pve.ownership import NotedCards

A = Holder("vm-a", 1001, "5f0c8a4e-0000-4000-8000-000000000001")
B = Holder("vm-b", 1002, "5f0c8a4e-0000-4000-8000-000000000002")
LEASE = Lease(A, "pve1", "run-1", 1_700_000_000)
OFF = Was(B, "", running=False, onboot=False, noted=NotedCards(gave=("gpu0",)))
ON = Was(A, "hostpci0", running=True, onboot=True, noted=NotedCards(has=("gpu0", "both")))
MOVING = Lease(B, "pve1", "run-2", 1_700_000_100, Before(OFF, ON))
FROM_NOBODY = Lease(B, "pve1", "run-2", 1_700_000_100, Before(OFF))


@pytest.mark.parametrize(
    "leases", [(LEASE,), (MOVING,), (FROM_NOBODY,), (LEASE, MOVING), (Lease(Holder("new"), "n", "r", 1),)]
)
@pytest.mark.parametrize("words", ["", "the left slot", "ours [shared], ask first", "Grüße"])
def test_both_directions(words: str, leases: tuple[Lease, ...]) -> None:
    text = with_leases(words, leases)
    assert read_leases(text) == leases
    assert own_words(text) == words
    assert "\n" not in text


def test_as_it_is_written() -> None:
    assert with_leases("the left slot", [LEASE]) == (
        'the left slot [localai-deploy lease [{"node":"pve1","run":"run-1","since":1700000000,'
        '"uuid":"5f0c8a4e-0000-4000-8000-000000000001","vm":"vm-a","vmid":1001}]]'
    )


def test_written_anew_and_taken_away() -> None:
    text = with_leases(with_leases("words", [LEASE]), [MOVING])
    assert read_leases(text) == (MOVING,)
    assert with_leases(text, []) == "words"


def test_words_behind_the_block_are_kept() -> None:
    text = with_leases("", [LEASE]) + " added later"
    assert read_leases(text) == (LEASE,)
    assert own_words(with_leases(text, [MOVING])) == "added later"


@pytest.mark.parametrize(
    "damaged",
    [
        "",
        "words",
        "[localai-deploy lease [{]]",
        '[localai-deploy lease [{"vm":"a"}]]',
        "[localai-deploy lease [1]]",
        with_leases("", [LEASE]) + " " + with_leases("", [MOVING]),
    ],
)
def test_damaged_blocks_hold_nothing(damaged: str) -> None:
    assert read_leases(damaged) == ()
    assert read_leases(with_leases(damaged, [LEASE])) == (LEASE,)


def test_long_words_leave_room_for_the_block() -> None:
    text = with_leases("x" * LONGEST, [LEASE])
    assert len(text) <= LONGEST
    assert read_leases(text) == (LEASE,)


def test_one_vm() -> None:
    assert A.is_same(A)
    assert not A.is_same(Holder("vm-a", 1001, "another uuid"))
    assert A.is_same(Holder("vm-a"))
    assert not A.is_same(Holder("vm-b"))
