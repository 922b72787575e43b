"""Commands over hosts whose facts are golden cases: plans, exit codes, a host that is down, consent."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Ended
from tests.unit.cli.terminal_double import Terminal

MODEL = ("--model", "hf:ORG/REPO/small-q4.gguf")
SERVED = {"box": "second-run"}
ESCAPE = "\x1b"


def test_a_plan_without_changes(run: Callable[..., Ended]) -> None:
    done = run("plan", "box", *MODEL, "--detailed-exitcode", hosts=SERVED)
    assert done.code == 0
    assert done.out.startswith(
        "Plan for box  (Debian GNU/Linux 13 (trixie), x86_64, 4 CPUs, 8.0 GiB memory)\n"
    )
    assert "Nothing to change" in done.out
    assert done.err == "· box: looking at the host\n"


def test_a_plan_with_changes(run: Callable[..., Ended]) -> None:
    changed = (*MODEL, "--context", "1024")
    done = run("plan", "box", *changed, "--detailed-exitcode", hosts=SERVED)
    assert done.code == 10
    assert "~ context_length: 4096 -> 1024" in done.out
    assert run("plan", "box", *changed, hosts=SERVED).code == 0


def test_a_dry_run_is_the_plan(run: Callable[..., Ended]) -> None:
    words = ("box", *MODEL, "--context", "1024")
    dry = run("up", *words, "--dry-run", "--yes", hosts=SERVED)
    assert dry == run("plan", *words, hosts=SERVED)
    assert (
        run("up", *words, "--dry-run", "-o", "json", hosts=SERVED).data["schema"] == "localai-deploy/plan/v1"
    )


def test_a_blocked_plan(run: Callable[..., Ended]) -> None:
    done = run("plan", "box", *MODEL, "--bind", "192.0.2.7", "--detailed-exitcode", hosts=SERVED)
    assert done.code == 3
    assert "x the API would listen on 192.0.2.7" in done.out or "[bind-without-tls]" in done.out
    assert "nothing will be changed" in done.out


def test_a_blocked_up_changes_nothing(run: Callable[..., Ended], tmp_path: Path) -> None:
    words = ("up", "box", *MODEL, "--bind", "192.0.2.7", "--yes")
    done = run(*words, hosts=SERVED)
    assert done.code == 3
    assert "[bind-without-tls]" in done.err
    assert done.out == "box: blocked, nothing was changed (see the plan)\n"
    told = run(*words, "-o", "json", hosts=SERVED)
    assert told.code == 3
    assert told.data["exit_code"] == 3
    assert [one["id"] for one in told.data["hosts"][0]["blockers"]] == ["bind-without-tls"]
    assert not (tmp_path / "state" / "localai-deploy" / "runs").exists()


def test_nobody_can_be_asked(run: Callable[..., Ended]) -> None:
    done = run("up", "box", *MODEL, "--context", "1024", hosts=SERVED)
    assert (done.code, done.out) == (2, "")
    assert "Plan for box" in done.err
    assert "[confirmation-needed]" in done.err
    done = run("down", "box", hosts=SERVED)
    assert (done.code, done.out) == (2, "")
    assert "- service" in done.err


@pytest.mark.parametrize(
    ("case", "state", "code"),
    [
        ("second-run", "running", 0),
        ("fresh-debian13", "absent", 0),
        ("environment-half-made", "stopped", 1),
        ("download-cut-off", "incomplete", 1),
    ],
)
def test_status(case: str, state: str, code: int, run: Callable[..., Ended]) -> None:
    done = run("status", "box", hosts={"box": case})
    assert (done.code, done.err) == (code, "")
    assert done.out.startswith(f"box: {state}  (Debian")
    assert ("run up (or down) again" in done.out) is (state == "incomplete")


def test_status_of_a_record_that_cannot_be_read(run: Callable[..., Ended]) -> None:
    done = run("status", "box", hosts={"box": "record-corrupt"})
    assert done.code == 1
    assert "! the host's record of the deployment cannot be read (explain record-unreadable)" in done.out


def test_without_a_model_a_host_keeps_what_it_has(run: Callable[..., Ended]) -> None:
    done = run("plan", "box", "--detailed-exitcode", hosts=SERVED)
    assert (done.code, "Nothing to change" in done.out) == (0, True)


def test_one_host_down_does_not_keep_the_others(inventory: Path, run: Callable[..., Ended]) -> None:
    hosts = {"one": "second-run", "two": "down"}
    given = ("-i", str(inventory))
    seen = run("status", *given, hosts=hosts)
    assert seen.code == 5
    assert "one: running" in seen.out
    assert "no SSH connection to two [host-unreachable]" in seen.out
    assert [
        one.get("state", one.get("error", {}).get("id"))
        for one in run("status", *given, "-o", "json", hosts=hosts).data["hosts"]
    ] == [
        "running",
        "host-unreachable",
    ]
    planned = run("plan", *given, hosts=hosts)
    assert planned.code == 3
    assert "Plan for one" in planned.out
    assert "no SSH connection to two" in planned.out
    removed = run("down", "inference", *given, hosts={"one": "fresh-debian13", "two": "down"})
    assert removed.code == 5
    assert "one: nothing of ours was there" in removed.out


def test_all_hosts_down(inventory: Path, run: Callable[..., Ended]) -> None:
    hosts = {"one": "down", "two": "down"}
    for words in (("status",), ("plan",), ("verify",), ("down", "inference", "--yes"), ("up", "--yes")):
        done = run(*words, "-i", str(inventory), hosts=hosts)
        assert done.code == 3, words
        assert done.out.count("[host-unreachable]") == 2, words


def test_verify_of_what_is_not_there(run: Callable[..., Ended]) -> None:
    done = run("verify", "box", hosts={"box": "fresh-debian13"})
    assert (done.code, done.out) == (3, "")
    assert "nothing of ours is on box [not-deployed]" in done.err


def test_consent_is_asked_and_no_is_respected(sit_before: Callable[..., Terminal], tmp_path: Path) -> None:
    terminal = sit_before("box=second-run", "up", "box", *MODEL, "--context", "1024")
    terminal.wait_for_question("Apply this plan? [y/N]: ")
    terminal.type("n\n")
    assert terminal.end() == 1
    assert terminal.seen.rstrip().endswith("nothing was changed")
    assert "error" not in terminal.seen
    assert not (tmp_path / "state" / "localai-deploy" / "runs").exists()


def test_yes_goes_on(sit_before: Callable[..., Terminal], tmp_path: Path) -> None:
    """The double's address refuses connections: the first step is begun, and reported as lost."""
    terminal = sit_before("box=second-run", "up", "box", *MODEL, "--context", "1024")
    terminal.wait_for_question("Apply this plan? [y/N]: ")
    terminal.type("y\n")
    assert terminal.end() == 5
    assert "[host-lost]" in terminal.seen
    assert "✗" in terminal.seen
    assert list((tmp_path / "state" / "localai-deploy" / "runs").iterdir())


def test_ctrl_c_is_heard_after_ansible_ran(run: Callable[..., Ended]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    assert run("up", "box", *MODEL, "--context", "1024", "--yes", hosts=SERVED).code == 5
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


@pytest.mark.parametrize("words", [("up", *MODEL, "--context", "1024"), ("down",)], ids=lambda one: one[0])
def test_ctrl_c_at_the_question(words: tuple[str, ...], sit_before: Callable[..., Terminal]) -> None:
    terminal = sit_before("box=second-run", words[0], "box", *words[1:])
    terminal.wait_for_question("[y/N]: ")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "interrupted; the same command goes on from here" in terminal.seen
    assert "Traceback" not in terminal.seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_polite_end_is_an_orderly_one(number: int, sit_before: Callable[..., Terminal]) -> None:
    terminal = sit_before("box=second-run", "down", "box")
    terminal.wait_for_question("[y/N]: ")
    os.kill(terminal.pid, number)
    assert terminal.end() == 130
    assert "Traceback" not in terminal.seen


def test_a_closed_terminal_ends_the_run(sit_before: Callable[..., Terminal]) -> None:
    terminal = sit_before("box=second-run", "down", "box")
    terminal.wait_for_question("[y/N]: ")
    terminal.hang_up()
    assert terminal.end() == 1


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port of this machine that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def take() -> None:
            try:
                while True:
                    kept.append(server.accept()[0])
            except OSError:
                return

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in kept:
            connection.close()


def test_ctrl_c_does_not_wait_for_hosts_that_do_not_answer(
    silent_port: int, environment: dict[str, str], tmp_path: Path
) -> None:
    hosts = "".join(f"    h{n}: {{ansible_host: 127.0.0.1, ansible_port: {silent_port}}}\n" for n in range(3))
    (tmp_path / "hosts.yml").write_text(f"inference:\n  hosts:\n{hosts}")
    words = ["status", "-i", str(tmp_path / "hosts.yml")]
    command = "from localai_deploy.cli.main import main; main()"
    terminal = Terminal([sys.executable, "-c", command, *words], environment)
    time.sleep(2)
    terminal.type("\x03")
    before = time.monotonic()
    assert terminal.end() == 130
    assert time.monotonic() - before < 8
    assert "interrupted" in terminal.seen
    assert "Traceback" not in terminal.seen


def test_colour_on_a_terminal_only(sit_before: Callable[..., Terminal], run: Callable[..., Ended]) -> None:
    words = ("plan", "box", *MODEL, "--context", "1024")
    coloured = sit_before("box=second-run", *words)
    assert coloured.end() == 0
    assert f"{ESCAPE}[33m" in coloured.seen
    plain = run(*words, hosts=SERVED)
    assert ESCAPE not in plain.out + plain.err


@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_no_escape_codes_where_they_are_not_wanted(
    variable: dict[str, str], sit_before: Callable[..., Terminal]
) -> None:
    words = ("plan", "box", *MODEL, "--context", "1024")
    terminal = sit_before("box=second-run", *words, **variable)
    assert terminal.end() == 0
    assert "context_length: 4096 -> 1024" in terminal.seen
    assert ESCAPE not in terminal.seen
    failing = sit_before("box=second-run", "explain", "nothing", **variable)
    assert failing.end() == 2
    assert ESCAPE not in failing.seen


def test_no_color_keeps_the_live_line_without_colours(sit_before: Callable[..., Terminal]) -> None:
    words = ("up", "box", *MODEL, "--context", "1024", "--yes")
    terminal = sit_before("box=second-run", *words, NO_COLOR="1")
    assert terminal.end() == 5
    assert re.findall(r"\x1b\[[0-9;]*m", terminal.seen) == []


def test_text_is_wrapped_at_the_terminal_and_whole_elsewhere(
    sit_before: Callable[..., Terminal], run: Callable[..., Ended]
) -> None:
    words = ("plan", "box", *MODEL)
    terminal = sit_before("box=second-run", *words, "--bind", "192.0.2.7", COLUMNS="60", NO_COLOR="1")
    assert terminal.end() == 3
    wordy = [line for line in terminal.seen.splitlines() if len(line) > 60 and "://" not in line]
    assert [
        line for line in wordy if not line.startswith(("Plan for", "· ", "      ~ ", "      fix: "))
    ] == []
