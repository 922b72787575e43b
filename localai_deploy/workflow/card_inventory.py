"""Lines of an inventory that say otherwise once a card has gone elsewhere: named, never changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from localai_deploy.domain.pve.gpu_selection import AUTO, NONE, CardChoice, NodeCards, select_cards
from localai_deploy.domain.settings import Sourced
from localai_deploy.inventory.specs import InventoryHost
from localai_deploy.workflow.card_look import NodeLook

_SETTING = "localai_gpu"
_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class CardLines:
    """Lines of an inventory about one card of a node.

    :param names: all mappings that stand for the card.
    """

    hosts: tuple[InventoryHost, ...]
    look: NodeLook
    choice: CardChoice
    names: frozenset[str]

    def against_giver(self, name: str) -> Iterator[str]:
        """Lines by which the VM that gave the card away would ask for it again."""
        for line in self._lines(name):
            cards = [one for one in line.value if one != AUTO]
            if self._mean_it(cards):
                yield (
                    f"{line.source} still gives {name} the card ({_SETTING}: {', '.join(cards)}): "
                    f"take it out there, or the next `up {name}` asks for it again"
                )

    def against_taker(self, name: str) -> Iterator[str]:
        """Lines by which the VM that got the card would not have it."""
        for line in self._lines(name):
            if line.source != _DEFAULT and not self._mean_it(line.value):
                others = ", ".join(line.value) or NONE
                yield (
                    f"{line.source} gives {name} other cards ({_SETTING}: {others}): "
                    f"add {self.choice.name} there, or the next `up {name}` takes the card out again"
                )

    def _lines(self, name: str) -> list[Sourced]:
        here = [one for one in self.hosts if one.vm is not None and one.vm.node.node == self.look.node]
        return [one.settings[_SETTING] for one in here if one.name == name]

    def _mean_it(self, texts: Iterable[str]) -> bool:
        """Whether one of them stands for the card, where a VM has it that is asked for with them."""
        there = NodeCards(self.look.node, self.look.cards, self.look.world.mappings, held=self.names)
        return any(one.card.slot == self.choice.card.slot for one in select_cards(texts, there).choices)
