"""A gateway in what ``plan``, ``status`` and ``down`` show."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.cli.conftest import Ended
from tests.unit.cli.test_schemas import problems

LEFT = {"box": "gateway-left"}


def test_one_that_is_not_asked_for_is_told(run: Callable[..., Ended]) -> None:
    ended = run("plan", "box", "--model", "hf:ORG/REPO/small-q4.gguf", "-o", "json", hosts=LEFT)
    (host,) = ended.data["hosts"]
    assert problems(ended.data) == []
    assert [one["id"] for one in host["warnings"]] == ["gateway-left"]
    assert "gateway" not in {step["kind"] for step in host["steps"]}


def test_status_names_it(run: Callable[..., Ended]) -> None:
    ended = run("status", "box", hosts=LEFT)
    assert "gateway   active (running), http://127.0.0.1:4000/v1 for box, den" in ended.out
    ended = run("status", "box", "-o", "json", hosts=LEFT)
    assert problems(ended.data) == []
    assert ended.data["hosts"][0]["gateway"] == {"active_state": "active", "sub_state": "running"}


def test_down_takes_it_first(run: Callable[..., Ended]) -> None:
    ended = run("down", "box", hosts=LEFT)
    steps = [line.split()[:2] for line in (ended.out + ended.err).splitlines()]
    removed = [words[1] for words in steps if words[:1] == ["-"]]
    assert removed[:2] == ["gateway", "service"]
