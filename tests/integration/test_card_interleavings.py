"""Two runs, one card: a sample of what ``tests.benchmarks.bench_card`` does a thousand times."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.card_interleavings import Table, counted, table

GAMES = 40


@pytest.fixture(scope="module")
def there() -> Iterator[Table]:
    with table() as found:
        yield found


def test_whatever_the_order_one_vm_has_the_card(there: Table) -> None:
    games = [there.play(seed) for seed in range(GAMES)]
    assert [(game.seed, game.actors, game.wrong) for game in games if game.wrong] == []
    ends = counted(games)
    assert ends["up"]["done"] > 5
    assert ends["up"]["card-held"] > 5
    assert ends["up"]["killed"] > 0


def test_two_holders_at_once_would_be_seen(there: Table) -> None:
    there.play(0)
    for vm in there.place.cluster.vms.values():
        vm.body.power = "stopped"
    for vmid in (1001, 1002):
        there.place.switch_on(vmid)
    there.watched.clear()
    there.watch("GET /version 200")
    assert there.watched == ["GET /version 200: [1001, 1002] run with the card at once"]
