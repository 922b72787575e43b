"""Consents to findings about cards: given for the cards that are asked for, kept for those very cards.

What somebody gives is a finding's id (``only-display``); a VM's block keeps it with the card that it was
given for (``only-display@0000:01:00 10de:2684``), and no other card can use it.
"""

from __future__ import annotations

from collections.abc import Iterable

_AT = "@"


def consents_for(card: str, accepted: Iterable[str]) -> frozenset[str]:
    """Ids of the findings that are consented to for one card.

    :param card: its identity (:attr:`localai_deploy.domain.pve.hardware.CardOnNode.identity`).
    :param accepted: as they were given or kept.
    """
    parts = (one.partition(_AT) for one in accepted)
    return frozenset(finding_id for finding_id, _, of in parts if of in {"", card})


def kept_consents(cards: Iterable[str], accepted: Iterable[str]) -> tuple[str, ...]:
    """Each consent with the card that it is for; those for other cards are gone."""
    given = tuple(accepted)
    return tuple(sorted(f"{one}{_AT}{card}" for card in cards for one in consents_for(card, given)))
