from __future__ import annotations

from localai_deploy.domain.pve.consents import consents_for, kept_consents

LEFT, RIGHT = "0000:01:00 10de:2684", "0000:02:00 10de:2684"
SAME_SLOT = "0000:01:00 10de:2204"


def test_given_for_all_cards_that_are_asked_for() -> None:
    given = ("only-display", "iommu-group-shared")
    assert consents_for(LEFT, given) == consents_for(RIGHT, given) == frozenset(given)
    assert kept_consents([RIGHT], given) == (
        "iommu-group-shared@0000:02:00 10de:2684",
        "only-display@0000:02:00 10de:2684",
    )


def test_kept_for_those_very_cards() -> None:
    kept = kept_consents([LEFT], ["only-display"])
    assert consents_for(LEFT, kept) == {"only-display"}
    assert consents_for(RIGHT, kept) == consents_for(SAME_SLOT, kept) == frozenset()
    assert kept_consents([LEFT, RIGHT], kept) == kept
    assert kept_consents([RIGHT], kept) == ()
