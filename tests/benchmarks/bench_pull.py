"""Random cuts through pulls, and through a naive pull: ``python -m tests.benchmarks.bench_pull``.

Four cuts in five fall at a random byte of the file: the process is killed, or the connection closed. The
others kill at a random moment of the process's life, so that hashing and publishing are hit too. After each
cut the final name must be absent or hold the right content. The naive baseline is ``curl -C -`` until it is
satisfied, then ``sha256sum``, beginning again when that is wrong. Both try again at once. Times are printed,
never judged.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from tests.unit.hub.server import SOUND, Fault, FaultServer
from tests.unit.hub.store import Store, gguf, sha256

MODEL = Path(".lab/content/models/smollm2-135m-instruct-q4_1.gguf")
SYNTHETIC_BYTES = 96 << 20
LONGEST_LIFE_S = 0.4
CUTS_PER_PULL = 20


@dataclass(frozen=True)
class Cut:
    """``kind`` is kill or close (at byte ``at``), or clock (killed ``at`` seconds after the start)."""

    kind: str
    at: float


def plan(dice: random.Random, kind: str, size: int, cuts: int) -> list[Cut]:
    """Cuts of one pull: at bytes in ascending order, or so many processes killed by the clock."""
    if kind == "clock":
        return [Cut(kind, dice.uniform(0, LONGEST_LIFE_S)) for _ in range(cuts)]
    offsets = sorted(dice.randrange(size) for _ in range(cuts))
    return [Cut(dice.choice(("kill", "close")), offset) for offset in offsets]


class CutServer(FaultServer):
    """Makes the cuts that are planned, in their order, each once."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.hash = sha256(content)
        self.planned: deque[Cut] = deque()
        self.made: Counter[str] = Counter()
        self.victim: subprocess.Popen[str] | None = None

    def next_fault(self, wanted: str) -> Fault:
        if not self.planned or self.planned[0].kind == "clock":
            return SOUND
        match = re.match(r"bytes=(\d+)", wanted)
        cut = self.planned.popleft()
        self.made[cut.kind] += 1
        after = max(0, int(cut.at) - int(match[1] if match else 0))
        return Fault(stall_after=after) if cut.kind == "kill" else Fault(cut_after=after)

    def stalled(self) -> None:
        while self.victim is None:
            time.sleep(0.001)
        self.victim.kill()

    def live(self, process: subprocess.Popen[str]) -> None:
        """Wait for the process, or kill it at the moment that is planned."""
        self.victim, deadline = process, None
        if self.planned and self.planned[0].kind == "clock":
            deadline = self.planned.popleft().at
        try:
            process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.made["clock"] += 1
        self.victim = None


class Naive:
    """``curl -C -`` until it is satisfied, then ``sha256sum``."""

    name = "curl -C - + sha256sum"

    def __init__(self, directory: Path, server: CutServer) -> None:
        self.final, self.server = directory / "model.gguf", server

    def start(self) -> subprocess.Popen[str]:
        argv = ["curl", "-q", "-sS", "-f", "-C", "-", "-o", str(self.final), self.server.url()]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def done(self, code: int) -> bool:
        whole = self.final.exists() and self.final.stat().st_size >= len(self.server.content)
        if code != 0 and not whole:
            return False
        said = subprocess.run(["sha256sum", str(self.final)], check=True, capture_output=True, text=True)
        if said.stdout.split()[0] != self.server.hash:
            self.final.unlink()
            return False
        return True


class Checked:
    """The model store's script."""

    name = "model_store.py pull"

    def __init__(self, directory: Path, server: CutServer) -> None:
        self.store = Store(directory)
        self.final = self.store.final
        self.job = self.store.job(server.url(), server.content, stall_timeout_s=60, backoff_s=0.0)

    def start(self) -> subprocess.Popen[str]:
        return self.store.start_pull(self.job)

    def done(self, code: int) -> bool:
        return code == 0


@dataclass
class Result:
    """What one way needed; ``exposed``: moments with a wrong file under the final name; ``wrong``: ends."""

    pulls: int = 0
    processes: int = 0
    seconds: float = 0.0
    sent_bytes: int = 0
    exposed: int = 0
    wrong: int = 0
    made: Counter[str] = field(default_factory=Counter)


def is_wrong(path: Path, server: CutServer) -> bool:
    """Whether something else than the right content has the final name."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size != len(server.content) or sha256(path.read_bytes()) != server.hash
    return False


def pull_through(way: Naive | Checked, server: CutServer, result: Result) -> None:
    """Start processes, one after another, until the file is there."""
    finished = False
    while not finished:
        start = time.monotonic()
        process = way.start()
        server.live(process)
        finished = way.done(process.returncode)
        result.seconds += time.monotonic() - start
        result.processes += 1
        result.exposed += not finished and is_wrong(way.final, server)
    result.wrong += is_wrong(way.final, server)
    result.pulls += 1


def measure(way: type[Naive | Checked], content: bytes, seed: int, kind: str, cuts: int) -> Result:
    """Pull until ``cuts`` cuts were made, at least three times."""
    dice, result = random.Random(seed), Result()
    while result.pulls < 3 or result.made.total() < cuts:
        with tempfile.TemporaryDirectory() as folder, CutServer(content) as server:
            left = max(0, cuts - result.made.total())
            server.planned.extend(plan(dice, kind, len(content), min(left, CUTS_PER_PULL)))
            pull_through(way(Path(folder), server), server, result)
            result.made += server.made
            result.sent_bytes += server.sent_bytes
    return result


def _number(value: float | None) -> str:
    return f"{'-':>6}" if value is None else f"{value:6.2f}"


def row(label: str, name: str, result: Result, base: Result, size: int) -> str:
    """One line; the ratios are left out when the two ways met unequal cuts per pull."""
    per_pull, base_per_pull = result.seconds / result.pulls, base.seconds / base.pulls
    sent, base_sent = (r.sent_bytes / r.pulls / size for r in (result, base))
    alike = result.made.total() * base.pulls == base.made.total() * result.pulls
    times, bytes_ = (per_pull / base_per_pull, sent / base_sent) if alike else (None, None)
    made = f"{result.made['kill'] + result.made['clock']}+{result.made['close']}"
    return (
        f"{label:6} {name:22} {result.pulls:5} {made:>8} {result.processes:9} {per_pull:9.2f} "
        f"{_number(times)} {sent:10.3f} {_number(bytes_)} {result.exposed:8} {result.wrong:6}"
    )


HEAD = (
    f"{'cuts':6} {'way':22} {'pulls':>5} {'made':>8} {'processes':>9} {'s/pull':>9} {'ratio':>6} "
    f"{'sent/size':>10} {'ratio':>6} {'exposed':>8} {'wrong':>6}"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=500)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--model", type=Path, default=MODEL)
    given = parser.parse_args()
    seed = random.randrange(1 << 32) if given.seed is None else given.seed
    real = given.model.exists()
    content = given.model.read_bytes() if real else gguf(SYNTHETIC_BYTES)
    print(f"{given.model.name if real else 'random bytes'}, {len(content)} bytes, seed {seed}")
    print(f"baseline of the ratios: {Naive.name}; made: processes killed + connections closed")
    print(HEAD)
    bad = 0
    by_clock = given.cuts // 5
    for kind, cuts in (("none", 0), ("byte", given.cuts - by_clock), ("clock", by_clock)):
        base = measure(Naive, content, seed, kind, cuts)
        print(row(kind, Naive.name, base, base, len(content)), flush=True)
        result = measure(Checked, content, seed, kind, cuts)
        print(row(kind, Checked.name, result, base, len(content)), flush=True)
        bad += result.exposed + result.wrong
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
