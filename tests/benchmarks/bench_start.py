"""How long the command takes to start: ``python -m tests.benchmarks.bench_start``.

Each command line is started in turn with the baseline ``python -c "import click"``, so that both meet the
same load. The ratio of the medians is what to compare between machines and days; the least of all times is
the nearest to a quiet machine, and the only one that ``--limit-ms`` judges.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

BASELINE = (sys.executable, "-c", "import click")
PROGRAM = str(Path(sys.executable).with_name("localai-deploy"))
LINES = (
    ("--version",),
    ("--help",),
    ("explain", "host-key-unknown"),
    ("completion", "bash"),
    ("up", "--help"),
)
JUDGED = LINES[:3]
LIMIT_MS = 150.0


def start(argv: Sequence[str]) -> float:
    """Milliseconds from start to end of a process."""
    began = time.perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)
    return 1000 * (time.perf_counter() - began)


def measure(rounds: int) -> dict[tuple[str, ...], list[tuple[float, float]]]:
    """Command line → pairs of its time and the baseline's beside it; the first round only warms caches."""
    found: dict[tuple[str, ...], list[tuple[float, float]]] = {line: [] for line in LINES}
    for number in range(rounds + 1):
        for line, pairs in found.items():
            pair = start([PROGRAM, *line]), start(BASELINE)
            if number:
                pairs.append(pair)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--limit-ms", type=float, default=LIMIT_MS)
    given = parser.parse_args()
    load, cores = os.getloadavg()[0], os.cpu_count()
    print(f"baseline: python -c 'import click'; load {load:.1f} on {cores} cores; {given.rounds} rounds")
    print(f"{'command line':<28} {'least':>8} {'median':>8} {'baseline':>8} {'ratio':>6}")
    slow = []
    for line, pairs in measure(given.rounds).items():
        ours, base = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        least, median, baseline = min(ours), statistics.median(ours), statistics.median(base)
        times = f"{least:>6.0f}ms {median:>6.0f}ms {baseline:>6.0f}ms"
        print(f"{' '.join(line):<28} {times} {median / baseline:>6.2f}")
        if line in JUDGED and least > given.limit_ms:
            slow.append(" ".join(line))
    if slow:
        print(f"slower than {given.limit_ms:.0f} ms at best: {', '.join(slow)}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
