"""Two runs at once, a network that goes away, a disk that fills up: a clear end, and a re-run converges."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.controller import MODEL, MODEL_PATH, NAME, Controller, at_work, lock_is_free, wait_for
from tests.integration.product import Ended
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.mirror_faults import Fault

if TYPE_CHECKING:
    from tests.lab.content import Content
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient

pytestmark = pytest.mark.host

STORE = str(Path("/", MODEL_PATH).parent)
SLOW_BYTES_PER_S = 8_000_000
NOTICED_WITHIN_S = 100.0
"""ssh gives a silent connection up after a minute; then Ansible ends."""
LOCK_SILENCE_S = 130.0


@pytest.fixture(scope="module")
def controller(lab: Lab, content: Content, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """Somebody who has deployed to a host."""
    del content
    with start_host(lab, unique_name()) as host:
        somebody = Controller(host, tmp_path_factory.mktemp("first"))
        try:
            first = somebody.run("up")
            assert first.code == 0, first.stderr
            yield somebody
        finally:
            somebody.close()


@pytest.fixture
def other(controller: Controller, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    """Somebody else who deploys to the same host."""
    somebody = Controller(controller.host, tmp_path_factory.mktemp("other"))
    yield somebody
    somebody.close()


@pytest.fixture
def without_model(controller: Controller, mirror: MirrorClient) -> Iterator[Controller]:
    """The host has lost its model, and the mirror sends it slowly."""
    controller.host.root("sh", "-c", f"rm -f {STORE}/*")
    slow = Fault("slow-drip", path=f"*{MODEL}", value=SLOW_BYTES_PER_S, client=controller.host.address)
    with mirror.fault(slow):
        yield controller


def ended(process: subprocess.Popen[str]) -> Ended:
    stdout, stderr = process.communicate(timeout=300)
    return Ended(process.returncode, stdout, stderr)


def test_one_of_several_runs_wins_and_the_others_name_it(controller: Controller, other: Controller) -> None:
    processes = [who.user.start(*who.words("up")) for who in (controller, controller, other)]
    runs = [ended(process) for process in processes]
    assert sorted(run.code for run in runs) == [0, 6, 6], [run.stderr for run in runs]
    winner = next(process.pid for process, run in zip(processes, runs, strict=True) if run.code == 0)
    for run in runs:
        if run.code == 6:
            assert "[host-held]" in run.stderr
            assert re.search(rf"held by \S+@\S+, process {winner}, since 20\d\d-", run.stderr)
            assert "Traceback" not in run.stderr
    status = json.loads(controller.run_json("status").stdout)
    assert [host["unfinished_step"] for host in status["hosts"]] == [None]


def test_a_second_run_changes_nothing(controller: Controller) -> None:
    before = controller.host.state()
    again = controller.run_json("up")
    assert again.code == 0, again.stderr
    assert [host["changed_tasks"] for host in json.loads(again.stdout)["hosts"]] == [0]
    assert controller.host.state() == before


def test_a_network_that_comes_back_is_borne(without_model: Controller) -> None:
    host = without_model.host
    process = without_model.user.start(*without_model.words("up"))
    wait_for(lambda: part_bytes(host) > 16_000_000, "16 MB of the model")
    with network_down(host):
        at_cut = part_bytes(host)
        time.sleep(20)
        assert part_bytes(host) - at_cut < 4_000_000
    run = ended(process)
    assert run.code == 0, run.stderr
    assert model_is_whole(without_model)


@pytest.mark.slow
def test_a_network_that_stays_away_is_told_and_a_re_run_converges(without_model: Controller) -> None:
    host = without_model.host
    process = without_model.user.start(*without_model.words("up"))
    wait_for(lambda: part_bytes(host) > 16_000_000, "16 MB of the model")
    with network_down(host):
        began = time.monotonic()
        run = ended(process)
        assert time.monotonic() - began < NOTICED_WITHIN_S
    assert run.code == 5, run.stderr
    assert "[host-lost]" in run.stdout + run.stderr
    assert "in step models" in run.stdout + run.stderr
    wait_for(lambda: lock_is_free(host), "free lock", LOCK_SILENCE_S)
    again = without_model.run("up")
    assert again.code == 0, again.stderr
    assert model_is_whole(without_model)
    assert at_work(host) == []


def test_a_disk_that_fills_up_during_a_pull(without_model: Controller) -> None:
    host = without_model.host
    host.root("mount", "-t", "tmpfs", "-o", "size=130m", "tmpfs", STORE)
    try:
        process = without_model.user.start(*without_model.words("up"))
        wait_for(lambda: mounted_bytes(host, f"{MODEL}.part") > 16_000_000, "16 MB of the model")
        host.root("sh", "-c", f"dd if=/dev/zero of={STORE}/other bs=1M 2>/dev/null || true")
        run = ended(process)
        assert run.code == 5, run.stderr
        assert "[model-no-space]" in run.stdout + run.stderr
        assert mounted_bytes(host, MODEL) == 0
        assert mounted_bytes(host, f"{MODEL}.part") > 16_000_000
        host.root("rm", f"{STORE}/other")
        again = without_model.run("up")
        assert again.code == 0, again.stderr
        assert model_is_whole(without_model)
    finally:
        host.root("umount", "--lazy", STORE)


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(
    without_model: Controller, mirror: MirrorClient
) -> None:
    host = without_model.host
    host.root("mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", STORE)
    fetched = len(mirror.requests(MODEL, host.address))
    try:
        run = without_model.run("up")
        assert run.code in {3, 5}, run.stderr
        assert "no-space]" in run.stdout + run.stderr
        assert host.root("ls", STORE).split() == []
        assert len(mirror.requests(MODEL, host.address)) == fetched
    finally:
        host.root("umount", "--lazy", STORE)


@contextmanager
def network_down(host: LabHost) -> Iterator[None]:
    """The cable is pulled, on this machine's side."""
    link = ("ip", "link", "set", host.network.interface)
    subprocess.run([*link, "down"], check=True)
    try:
        yield
    finally:
        subprocess.run([*link, "up"], check=True)


def part_bytes(host: LabHost) -> int:
    """How much of the model is there, seen from outside."""
    path = host.rootfs / f"{MODEL_PATH}.part"
    return path.stat().st_size if path.exists() else 0


def mounted_bytes(host: LabHost, name: str) -> int:
    """Size of a file of the store as the host sees it; 0 without one."""
    return int(host.root("stat", "-c", "%s", f"{STORE}/{name}", check=False) or 0)


def model_is_whole(controller: Controller) -> bool:
    """The store's own record and the bytes agree, read again."""
    return controller.user.run("model", "verify", "-i", str(controller.inventory), NAME).code == 0
