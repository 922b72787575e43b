"""Several machines want one card at once: random interleavings of their calls, with pauses and kills.

Each actor has a connection of its own to the embedded node and goes through the product's own code. After
every request that the node answers, and at the end, it is looked at what must always hold.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.domain.pve.card_move import find_vm, plan_move
from localai_deploy.domain.pve.lease import Holder, read_leases
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.card_users import card_world
from localai_deploy.proxmox.card_vms import CardVms
from localai_deploy.proxmox.client import PveClient
from localai_deploy.proxmox.leases import Leases
from localai_deploy.proxmox.tasks import TaskWaiter
from localai_deploy.sandbox.body import BareBody
from localai_deploy.workflow.card_moves import CardMover
from tests.integration.card_place import CardPlace, card_place

MAPPING = "gpu0"
CARD = "0000:01:00.0"
NAMES = ("a", "b", "c")
LONGEST_PAUSE_S = 0.004
LOST = frozenset({"card-held", "card-taken-over"})
"""How a run ends that another one was faster than."""
UNDONE = frozenset({"card-move-undone"})


class Killed(BaseException):
    """The run's process ends here."""


class Machine(PveClient):
    """A client that pauses at random, and dies at one of its changes if it is to."""

    def __init__(self, place: CardPlace, chance: random.Random, *, dies: bool) -> None:
        super().__init__(place.client().connection, sleep=lambda seconds: time.sleep(min(seconds, 0.002)))
        self._chance = chance
        self._left = chance.randint(1, 4) if dies else 0
        self._after = chance.random() < 0.5

    def _call(self, method: str, path: str, parameters: dict[str, Any]) -> Any:
        time.sleep(self._chance.uniform(0, LONGEST_PAUSE_S))
        if method == "get" or not self._left:
            return super()._call(method, path, parameters)
        self._left -= 1
        if self._left:
            return super()._call(method, path, parameters)
        if self._after:
            super()._call(method, path, parameters)
        raise Killed


@dataclass
class Ended:
    """How one interleaving went: what each actor did and how it ended, and what did not hold."""

    seed: int
    actors: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


@dataclass
class Table:
    """One node that serves one interleaving after the other."""

    place: CardPlace
    watched: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)

    def play(self, seed: int) -> Ended:
        """Begin anew, let two or three actors loose, and judge."""
        chance, ended = random.Random(seed), Ended(seed)
        vms = self._begin(chance)
        actors = [self._actor(chance, number, vms) for number in range(chance.choice((2, 3, 3)))]
        threads = [threading.Thread(target=self._run, args=(ended, *actor)) for actor in actors]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
        if any(one.is_alive() for one in threads):
            ended.wrong.append("an actor does not end")
        self._settle()
        ended.wrong += [*self.watched, *self._problems(vms), *self._races(ended)]
        self._go_on(ended, chance)
        return ended

    def _begin(self, chance: random.Random) -> dict[str, Holder]:
        cluster = self.place.cluster
        self._settle()
        cluster.vms.clear()
        self.watched.clear()
        self.taken.clear()
        cluster.mappings[MAPPING].description = "words of an admin"
        running = chance.choice((None, None, *NAMES))
        vms = {
            name: self.place.add_vm(1001 + number, name, MAPPING, running=name == running)
            for number, name in enumerate(NAMES)
        }
        for vm in cluster.vms.values():
            vm.body = SlowBody(vm.body.state(), chance.random())
        if running and chance.random() < 0.7:
            self.place.leases("run-0").take(MAPPING, vms[running])
        return vms

    def _actor(
        self, chance: random.Random, number: int, vms: dict[str, Holder]
    ) -> tuple[str, Callable[[], None]]:
        kind = chance.choice(("up", "up", "up", "move", "move", "release", "by hand"))
        name = NAMES[number] if kind == "up" else chance.choice(NAMES)
        dies = kind != "by hand" and chance.random() < 0.25
        machine = Machine(self.place, random.Random(chance.random()), dies=dies)
        run = f"run-{number + 1}"
        work = {"up": self._up, "move": self._move, "release": self._free, "by hand": self._by_hand}[kind]
        return f"{kind} {name}", lambda: work(machine, run, vms[name])

    def _run(self, ended: Ended, what: str, work: Callable[[], None]) -> None:
        try:
            work()
            end = "done"
        except Killed:
            end = "killed"
        except LocalaiError as error:
            end = error.error_id
        except Exception as error:  # noqa: BLE001 - told as what is wrong
            end = f"{type(error).__name__}: {error}"
        ended.actors.append((what, end))

    def _up(self, machine: Machine, run: str, vm: Holder) -> None:
        leases = _leases(machine, run)
        leases.take(MAPPING, vm)
        self.taken.append(vm.name)
        try:
            CardVms(machine, _waiter(machine)).start(vm.vmid)
        except LocalaiError as error:
            leases.give_back(MAPPING, vm)
            raise leases.as_held(MAPPING, error) from error

    def _move(self, machine: Machine, run: str, vm: Holder) -> None:
        world = card_world(machine)
        mapping = world.mapping(MAPPING)
        assert mapping is not None
        plan = plan_move(world, mapping, "pve1", find_vm(world, "pve1", str(vm.vmid)), time.time())
        _mover(machine, run).move(plan)

    def _free(self, machine: Machine, run: str, vm: Holder) -> None:
        del vm
        world = card_world(machine)
        mover = _mover(machine, run)
        owner = mover.leases.owner(MAPPING)
        for one in world.vms:
            if owner is not None and one.holder.is_same(owner.holder):
                mover.switch_off(one)
        mover.leases.free(MAPPING)

    def _by_hand(self, machine: Machine, run: str, vm: Holder) -> None:
        """Somebody starts a VM on the node's own pages."""
        del run
        try:
            CardVms(machine, _waiter(machine)).start(vm.vmid)
        except LocalaiError as error:
            raise _leases(machine, "by hand").as_held(MAPPING, error) from error

    def _settle(self) -> None:
        for task in list(self.place.sandbox.site.tasks.all.values()):
            task.ended.wait(20)

    def watch(self, line: str) -> None:
        """After every request: one VM at most runs with the card."""
        running = self._running()
        if len(running) > 1:
            self.watched.append(f"{line}: {running} run with the card at once")

    def _running(self) -> list[int]:
        return [
            vm.vmid
            for vm in list(self.place.cluster.vms.values())
            if CARD in vm.devices and vm.body.state() == "running"
        ]

    def _problems(self, vms: dict[str, Holder]) -> Iterator[str]:
        """What of the end does not hold."""
        description = self.place.cluster.mappings[MAPPING].description or ""
        leases = read_leases(description)
        if not description.startswith("words of an admin"):
            yield f"the admin's words are gone: {description!r}"
        if len(leases) > 1:
            yield f"several leases: {description}"
        for lease in leases:
            if not any(lease.holder.is_same(vm) for vm in vms.values()):
                yield f"the lease is of nobody: {lease}"
        for vm in self.place.cluster.vms.values():
            if "hostpci0" not in vm.config or vm.lock is None:
                yield f"VM {vm.vmid} lost its card's place: {vm.config}"
            if vm.starting:
                yield f"VM {vm.vmid} is starting for ever"

    def _races(self, ended: Ended) -> Iterator[str]:
        """How actors may end; of several that only take and start, one has the card, and no more."""
        for what, end in ended.actors:
            may = {"done", "killed"} | LOST
            if what.startswith("move"):
                may |= UNDONE
            if end not in may:
                yield f"{what} ended with {end}"
        kinds = {what.split()[0] for what, _ in ended.actors}
        done = [what for what, end in ended.actors if end == "done"]
        if kinds == {"up"} and len(done) > 1:
            yield f"several won: {done}"
        if kinds == {"up"} and len(self.taken) > 1:
            yield f"several took the lease: {self.taken}"
        killed = any(end == "killed" for _, end in ended.actors)
        if kinds == {"up"} and not done and not killed and not self._running():
            yield "nobody won"

    def _go_on(self, ended: Ended, chance: random.Random) -> None:
        """Whatever was cut off: a move goes on, or begins, and ends well; its VM alone has the card."""
        leases = read_leases(self.place.cluster.mappings[MAPPING].description or "")
        on_the_way = [one.holder.name for one in leases if one.before is not None]
        name = on_the_way[0] if on_the_way else chance.choice(NAMES)
        machine = Machine(self.place, random.Random(ended.seed), dies=False)
        target = next(vm for vm in self.place.cluster.vms.values() if vm.config["name"] == name)
        try:
            self._move(machine, "run-9", Holder(name, target.vmid))
        except LocalaiError as error:
            ended.wrong.append(f"the move afterwards: {error.error_id}: {error}")
            return
        after = read_leases(self.place.cluster.mappings[MAPPING].description or "")
        if [(one.holder.name, one.before) for one in after] != [(name, None)]:
            ended.wrong.append(f"after a move to {name} the leases are {after}")
        if self._running() != [target.vmid]:
            ended.wrong.append(f"after a move to {name} VMs {self._running()} run with the card")


class SlowBody(BareBody):
    """A guest that takes a moment to go up and down."""

    def __init__(self, power: str, pace: float) -> None:
        super().__init__(power=power, powers_off=True)
        self._pause_s = pace * LONGEST_PAUSE_S

    def start(self, plan: Any) -> None:
        time.sleep(self._pause_s)
        super().start(plan)

    def shutdown(self, timeout_s: float) -> bool:
        time.sleep(self._pause_s)
        return super().shutdown(timeout_s)


def _leases(machine: Machine, run: str) -> Leases:
    return Leases(machine, run, sleep=lambda seconds: time.sleep(seconds / 20))


def _waiter(machine: Machine) -> TaskWaiter:
    return TaskWaiter(machine, sleep=lambda seconds: time.sleep(min(seconds, 0.002)))


def _mover(machine: Machine, run: str) -> CardMover:
    vms = CardVms(machine, _waiter(machine))
    return CardMover(_leases(machine, run), vms, (), lambda _: None, shutdown_s=5, agent_patience_s=0)


@contextmanager
def table() -> Iterator[Table]:
    """A node to play at."""
    with card_place() as place:
        found = Table(place)
        place.sandbox.site.on_request = found.watch
        yield found


def counted(games: list[Ended]) -> dict[str, Counter[str]]:
    """Kind of actor → how often it ended how."""
    found: dict[str, Counter[str]] = {}
    for game in games:
        for what, end in game.actors:
            found.setdefault(what.rpartition(" ")[0], Counter())[end] += 1
    return found
