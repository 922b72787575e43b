"""Several runs want one card, many times over: ``python -m tests.benchmarks.bench_card``.

Plays random interleavings (``--games``, numbered from ``--first``) of runs that take the card and start,
move it, free it, or start a VM by hand, a quarter of them killed at a random change; each goes over HTTPS to
an embedded node. Prints how they ended, and every game in which something did not hold; such a game is
played again with ``--first SEED --games 1``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

from tests.integration.card_interleavings import counted, table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    games, times = [], []
    with table() as there:
        for seed in range(given.first, given.first + given.games):
            began = time.perf_counter()
            games.append(there.play(seed))
            times.append(time.perf_counter() - began)
    for kind, ends in sorted(counted(games).items()):
        told = ", ".join(f"{end} {count}" for end, count in ends.most_common())
        print(f"{kind:<8} {sum(ends.values()):>5}: {told}")
    wrong = [game for game in games if game.wrong]
    print(f"{len(games)} games in {sum(times):.0f} s, median {1000 * statistics.median(times):.0f} ms")
    print(f"wrong: {len(wrong)}")
    for game in wrong:
        print(f"  seed {game.seed}: {game.actors}")
        for line in game.wrong:
            print(f"    {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
