"""Two runs about one VM, and an API that breaks off: one of them gets through, a re-run converges."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from localai_deploy.domain.plan import StepKind
from tests.integration.controller import wait_for
from tests.integration.own_node import OwnNode, own_node
from tests.integration.product import Ended, await_end
from tests.integration.vm_user import VmUser, new_vm_user

if TYPE_CHECKING:
    from tests.lab.content import Content
    from tests.lab.layout import Lab

pytestmark = pytest.mark.host

NAME = "box"
VM = r"/nodes/sandbox/qemu/\d+"
RUNS_AT_MOST = 12


@pytest.fixture(scope="module")
def node(lab: Lab, content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnNode]:
    del content
    with own_node(lab, tmp_path_factory.mktemp("node"), f"{os.getpid()}-together") as node:
        yield node


@pytest.fixture(scope="module")
def users(node: OwnNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[VmUser, VmUser]]:
    """Two who use one key on two machines."""
    homes = tmp_path_factory.mktemp("homes")
    one = new_vm_user(homes / "one", node.environment, node.variables)
    two = new_vm_user(homes / "two", node.environment, node.variables, one.home / "id_ed25519")
    yield one, two
    for user in (one, two):
        user.close()


@pytest.fixture
def bare(node: OwnNode, users: tuple[VmUser, VmUser]) -> OwnNode:
    node.reset()
    for user in users:
        user.forget()
    return node


def ended(process: subprocess.Popen[str]) -> Ended:
    run = await_end(process)
    assert "Traceback" not in run.stderr + run.stdout, run
    return run


def names(node: OwnNode) -> list[str]:
    return [str(vm.config["name"]) for vm in node.site.cluster.vms.values()]


def seeds(node: OwnNode) -> list[str]:
    return [volid for volid, one in node.site.cluster.volumes.items() if one.content == "iso"]


def steps(user: VmUser) -> list[str]:
    """What the user's runs have begun so far."""
    return [entry["step"] for entry in user.entries(NAME)]


def error_ids(run: Ended) -> list[str]:
    return re.findall(r"\[([a-z]+-[a-z-]+)\]", run.stdout + run.stderr)


def is_proven(node: OwnNode, user: VmUser) -> bool:
    """A run finds nothing to do, and the checks pass."""
    node.forget_requests()
    (host,) = user.told("up", NAME)["hosts"]
    assert (names(node), seeds(node), node.changes()) == ([NAME], [], [])
    return bool(host["verification"]["passed"] and host["changed_tasks"] == 0)


def test_one_of_two_runs_wins_and_the_other_converges(bare: OwnNode, users: tuple[VmUser, VmUser]) -> None:
    processes = [user.start(*user.words("up", NAME)) for user in users]
    runs = [ended(process) for process in processes]
    assert sorted(run.code for run in runs) == [0, 6], [run.stderr for run in runs]
    loser, told = next((user, run) for user, run in zip(users, runs, strict=True) if run.code == 6)
    assert re.search(r"\[(vm|host)-held\]", told.stdout + told.stderr), told
    assert is_proven(bare, loser)


def test_up_while_down_is_about_to_delete(node: OwnNode, users: tuple[VmUser, VmUser]) -> None:
    """Whoever is first at the node has it; the other is told."""
    one, two = users
    assert names(node) == [NAME]
    with node.gate.halt(f"DELETE {VM}$") as halt:
        going = one.start(*one.words("down", NAME))
        wait_for(halt.reached.is_set, "the delete")
        with node.gate.halt(f"POST {VM}/status/start$", "after") as started:
            coming = two.start(*two.words("up", NAME))
            wait_for(started.reached.is_set, "the start")
            halt.let_go()
            down = ended(going)
            started.let_go()
        up = ended(coming)
    assert down.code == 5, down
    assert re.search(r"is running", down.stdout + down.stderr), down
    assert up.code == 0, up
    assert names(node) == [NAME]


@pytest.mark.slow
def test_a_run_that_comes_during_the_first_boot(bare: OwnNode, users: tuple[VmUser, VmUser]) -> None:
    one, two = users
    with bare.gate.halt(f"GET {VM}/agent/network-get-interfaces$", nth=2) as halt:
        first = one.start(*one.words("up", NAME))
        wait_for(halt.reached.is_set, "the first boot")
        second = two.start(*two.words("up", NAME))
        wait_for(lambda: StepKind.START in steps(two), "the second run's wait")
        halt.let_go()
    runs = [ended(process) for process in (first, second)]
    assert sorted(run.code for run in runs) == [0, 6], [run.stderr for run in runs]
    assert is_proven(bare, users[[run.code for run in runs].index(6)])


@pytest.mark.slow
def test_down_during_the_first_boot(bare: OwnNode, users: tuple[VmUser, VmUser]) -> None:
    one, two = users
    with bare.gate.halt(f"GET {VM}/agent/network-get-interfaces$", nth=2) as halt:
        coming = one.start(*one.words("up", NAME))
        wait_for(halt.reached.is_set, "the first boot")
        down = two.vm("down", NAME)
        halt.let_go()
    up = ended(coming)
    assert (down.code, names(bare), seeds(bare)) == (0, [], []), down
    assert up.code == 5, up
    assert re.search(r"\[(guest-stopped|pve-vm-missing)\]", up.stdout + up.stderr), up
    assert one.vm("up", NAME).code == 0
    assert is_proven(bare, two)


@pytest.mark.slow
def test_down_while_the_roles_run(bare: OwnNode, users: tuple[VmUser, VmUser]) -> None:
    one, two = users
    coming = one.start(*one.words("up", NAME))
    wait_for(lambda: StepKind.ENVIRONMENT in steps(one), "a role")
    two.refused(6, "host-held", *two.words("down", NAME))
    assert ended(coming).code == 0
    assert names(bare) == [NAME]


@pytest.mark.slow
@pytest.mark.parametrize("every", [3, 7])
def test_a_connection_that_breaks_off_again_and_again(
    bare: OwnNode, users: tuple[VmUser, VmUser], every: int
) -> None:
    """Every so many requests meet a reset, at first before their work and in the next run after it."""
    one, _ = users
    for turn in range(RUNS_AT_MOST):
        bare.gate.break_off(every, "reset-before" if turn % 2 == 0 else "reset-after-success")
        run = ended(one.start(*one.words("up", NAME)))
        print(f"every {every}: run {turn + 1} ends with {run.code} {error_ids(run)}")
        assert run.code in {0, 3, 5}, run
        if run.code == 0:
            break
    bare.gate.break_off(0)
    assert run.code == 0
    assert is_proven(bare, one)
