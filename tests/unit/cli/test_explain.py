from __future__ import annotations

from collections.abc import Callable

import pytest

from localai_deploy.cli.catalogue import catalogue
from tests.unit.cli.conftest import Ended

IDS = sorted(catalogue())


@pytest.mark.parametrize("error_id", IDS)
def test_every_id_is_explained(error_id: str, run: Callable[..., Ended]) -> None:
    done = run("explain", error_id)
    assert (done.code, done.err) == (0, "")
    first, *more = done.out.splitlines()
    assert first.startswith(f"{error_id}: ")
    assert [line[2:10].strip() for line in more] == ["cause", "seen by", "fix"]


def test_the_list_is_aligned(run: Callable[..., Ended]) -> None:
    lines = run("explain").out.splitlines()
    assert [line.split()[0] for line in lines] == IDS
    column = len(max(IDS, key=len)) + 2
    assert {line[column - 1 : column] for line in lines} == {" "}
    assert all(line[column].strip() for line in lines)


def test_a_typo_is_met_with_a_suggestion(run: Callable[..., Ended]) -> None:
    done = run("explain", "host-key-unknow")
    assert done.code == 2
    assert "did you mean host-key-unknown?" in done.err
