"""``--gpu``: which cards of a node a VM is to have.

A card is asked for by its address, the name of a resource mapping, its own name (the catalogue's or the
node's), or as ``auto``: the only one that is free and can be given away.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from localai_deploy.domain.pci.address import PciAddress, is_address, parse_address
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.pve.hardware import CardOnNode
from localai_deploy.domain.pve.mapping import ResourceMapping, mapping_problem, new_mapping_name
from localai_deploy.domain.setting import invalid

AUTO = "auto"
NONE = "none"
_RAW = "raw:"
_MOST = 16
"""``hostpci0`` to ``hostpci15``."""
_BRANDS = frozenset({"nvidia", "geforce", "corporation", "quadro", "tesla"})
_WORDS = re.compile(r"[a-z0-9]+")
_IN_BRACKETS = re.compile(r"\[([^\]]+)\]")


def parse_selection(name: str, value: object) -> tuple[str, ...]:
    """Read a value of ``--gpu``: texts, none for ``none``; addresses come out in their full form.

    :param name: of the setting, for the error.
    :raises InputError: ``setting-invalid``.
    """
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(one, str) for one in parts):
        raise invalid(name, value, "an address, a mapping, a card's name, auto or none; several as a list")
    texts = tuple(_canonical(one) for one in parts)
    if texts in {(), ("",), (NONE,)}:
        return ()
    if "" in texts or len(set(texts)) < len(texts) or len(texts) > _MOST:
        raise invalid(name, value, f"up to {_MOST} different cards")
    if len(texts) > 1 and {AUTO, NONE} & set(texts):
        raise invalid(name, value, f"{AUTO} or {NONE} alone, or a list of cards")
    return texts


def _canonical(text: str) -> str:
    text = text.strip()
    if is_address(text):
        return str(parse_address(text))
    return text.lower() if text.lower() in {AUTO, NONE} else text


@dataclass(frozen=True, slots=True)
class CardChoice:
    """A card that a VM is to have, and the mapping by which it gets it.

    :param mapping: ``None``: no mapping stands for the card alone; one is to be made.
    :param name: the mapping's, whether it is there or to be made.
    """

    card: CardOnNode
    mapping: ResourceMapping | None
    name: str

    @property
    def guest_ids(self) -> tuple[str, ...]:
        """Vendor and device of each function that the guest will see."""
        entries = self.mapping.entries_on(self.card.node) if self.mapping else ()
        mapped = [address for entry in entries for address in entry.addresses]
        return self.card.ids_of(mapped or [self.card.address])


@dataclass(frozen=True, slots=True)
class NodeCards:
    """The cards of a node and what is known of them.

    :param users: slot → what to call the other VMs that have the card.
    :param held: names of the mappings that the VM in question has already.
    :param against: what speaks against giving a card away, in a few words; empty: nothing.
    """

    node: str
    cards: tuple[CardOnNode, ...]
    mappings: tuple[ResourceMapping, ...]
    users: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    against: Callable[[CardOnNode], str] = lambda _: ""

    def mapping_named(self, name: str) -> ResourceMapping | None:
        """Look up a mapping."""
        return next((one for one in self.mappings if one.name == name), None)

    def is_held(self, card: CardOnNode) -> bool:
        """Whether the VM in question has the card."""
        return any(one.name in self.held and one.is_of(card) for one in self.mappings)


@dataclass(frozen=True, slots=True)
class Selection:
    """Cards that were found, and why others were not."""

    choices: tuple[CardChoice, ...] = ()
    findings: tuple[Finding, ...] = ()


def select_cards(wanted: Iterable[str], there: NodeCards) -> Selection:
    """The cards that the texts of a selection stand for, each once."""
    choices: dict[str, CardChoice] = {}
    findings: list[Finding] = []
    for text in wanted:
        found = _find(text, there)
        if isinstance(found, Finding):
            findings.append(found)
        elif found.card.slot not in choices:
            taken = {one.name for one in choices.values()}
            choices[found.card.slot] = found if found.mapping else _to_be_made(found.card, there, taken)
    return Selection(tuple(choices.values()), tuple(findings))


def _find(text: str, there: NodeCards) -> CardChoice | Finding:
    if text.startswith(_RAW):
        return _raw(text)
    mapping = there.mapping_named(text)
    if mapping is not None and text != AUTO:
        return _by_mapping(mapping, there)
    found = _candidates(text, there)
    if isinstance(found, Finding):
        return found
    if len(found) > 1:
        found = [card for card in found if there.is_held(card)] or found
    if len(found) != 1:
        return _ambiguous(text, found, there) if found else _unknown(text, there)
    return _choice(found[0], there)


def _candidates(text: str, there: NodeCards) -> list[CardOnNode] | Finding:
    if text == AUTO:
        return _free_cards(there)
    if is_address(text):
        return _at(parse_address(text), there)
    return [card for card in there.cards if _key(text) in _keys(card)]


def _at(address: PciAddress, there: NodeCards) -> list[CardOnNode]:
    """The card there; a function stands for its whole device."""
    return [card for card in there.cards if card.address == address.whole]


def _free_cards(there: NodeCards) -> list[CardOnNode] | Finding:
    """Cards that compute and that nothing speaks against; what the VM has already comes first."""
    cards = [card for card in there.cards if card.is_nvidia]
    held = [card for card in cards if there.is_held(card)]
    reasons = {card.slot: _against(card, there) for card in cards}
    free = [card for card in cards if not reasons[card.slot]]
    if held or free:
        return held or free
    told = [f"{card}: {reasons[card.slot]}" for card in cards]
    return _blocker(
        "gpu-none-free",
        f"no card of node {there.node} is free and can be given to a VM",
        "\n".join(told) or "it has no card of NVIDIA",
        "shut the other VM down, or name a card with --gpu to see what speaks against it",
    )


def _against(card: CardOnNode, there: NodeCards) -> str:
    users = there.users.get(card.slot, ())
    return f"used by {', '.join(users)}" if users else there.against(card)


def _by_mapping(mapping: ResourceMapping, there: NodeCards) -> CardChoice | Finding:
    slots = mapping.slots_on(there.node)
    cards = [card for card in there.cards if card.slot in slots]
    if len(slots) > 1:
        return _ambiguous(mapping.name, cards, there)
    if cards:
        return CardChoice(cards[0], mapping, mapping.name)
    if not slots:
        why = f"its entries are for {', '.join(sorted({one.node for one in mapping.entries})) or 'no node'}"
        return _blocker(
            "gpu-unknown",
            f"mapping {mapping.name} stands for no card of node {there.node}",
            f"{why}\n{_told(there)}",
            "name one of the cards with --gpu",
        )
    return _blocker(
        "pci-renumber",
        f"mapping {mapping.name} is out of date",
        f"{mapping_problem(mapping.entries_on(there.node)[0], None)}\n{_told(there)}",
        "name the card by its address with --gpu; an admin maps it anew (Datacenter, Resource Mappings)",
    )


def _choice(card: CardOnNode, there: NodeCards) -> CardChoice:
    """With the mapping that the VM has, else one that fits the hardware, else one that did once."""
    found = [one for one in there.mappings if one.is_of(card)]
    found.sort(key=lambda one: (one.name not in there.held, bool(_problems(one, card)), one.name))
    mapping = found[0] if found else None
    return CardChoice(card, mapping, mapping.name if mapping else "")


def _to_be_made(card: CardOnNode, there: NodeCards, taken: set[str]) -> CardChoice:
    names = {one.name for one in there.mappings} | taken
    return CardChoice(card, None, new_mapping_name(card, names))


def _problems(mapping: ResourceMapping, card: CardOnNode) -> list[str]:
    found = (mapping_problem(entry, card) for entry in mapping.entries_on(card.node))
    return [one for one in found if one] or list(mapping.checks)


def _raw(text: str) -> Finding:
    return _blocker(
        "pve-hostpci-root",
        f"{text} cannot be set: a raw PCI address is for root with a password login alone",
        "localai-deploy logs in with an API token, and no token may set one, not even root's own",
        f"leave {_RAW} away: a resource mapping is found or made for the card",
    )


def _ambiguous(text: str, cards: list[CardOnNode], there: NodeCards) -> Finding:
    what = "several cards are free" if text == AUTO else f"{text!r} stands for several cards"
    return _blocker(
        "gpu-ambiguous",
        f"{what} on node {there.node}",
        "\n".join(_line(card, there) for card in cards),
        " or ".join(f"--gpu {card.slot}" for card in cards),
    )


def _unknown(text: str, there: NodeCards) -> Finding:
    near = _nearest(text, there)
    return _blocker(
        "gpu-unknown",
        f"node {there.node} has no card {text!r}",
        _told(there),
        f"did you mean {near}?" if near else "name one of these by address, mapping or name",
    )


def _nearest(text: str, there: NodeCards) -> str:
    """The card or mapping that is spelt most like the text; one that has all of its words comes first."""
    words = set(_WORDS.findall(text.lower())) - _BRANDS
    for card in there.cards:
        if words and words <= set(_WORDS.findall(card.name.lower())):
            return f'--gpu "{card.name}" or --gpu {card.slot}'
    known = {_key(card.name): f'--gpu "{card.name}"' for card in there.cards}
    known |= {card.slot: f"--gpu {card.slot}" for card in there.cards}
    known |= {one.name.lower(): f"--gpu {one.name}" for one in there.mappings}
    asked = parse_address(text).slot if is_address(text) else text.lower()
    close = difflib.get_close_matches(asked, known, n=1) or difflib.get_close_matches(_key(text), known, n=1)
    return known[close[0]] if close else ""


def _told(there: NodeCards) -> str:
    lines = "\n".join(_line(card, there) for card in there.cards)
    return f"its cards are:\n{lines}" if lines else "it has no card at all"


def _line(card: CardOnNode, there: NodeCards) -> str:
    names = [one.name for one in there.mappings if one.is_of(card)]
    users = there.users.get(card.slot, ())
    notes = (
        f"mapping {', '.join(names)}" if names else "",
        f"used by {', '.join(users)}" if users else "",
    )
    return "; ".join(filter(None, (f"{card.slot} {card.name}", *notes)))


def _keys(card: CardOnNode) -> set[str]:
    """How a card may be called: as the catalogue does, as the node does, or by its PCI id."""
    words = [card.name, card.display.device_name, *_IN_BRACKETS.findall(card.display.device_name)]
    return {_key(one) for one in (*words, card.pci_id)} - {""}


def _key(name: str) -> str:
    """A name without brands, spaces and case: ``rtx4090``."""
    return "".join(word for word in _WORDS.findall(name.lower()) if word not in _BRANDS)


def _blocker(finding_id: str, what: str, why: str, hint: str) -> Finding:
    return Finding(finding_id, Severity.BLOCKER, what, why, hint)
