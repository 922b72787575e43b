from __future__ import annotations

import io

import pytest

from localai_deploy.cli.terminal import advice, hanging, wants_color, width_of


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colour_is_for_terminals_that_want_it(environment: dict[str, str], wanted: bool) -> None:
    assert wants_color(Screen(), environment) is wanted
    assert wants_color(io.StringIO(), environment) is False


def test_what_is_no_terminal_is_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert width_of(io.StringIO()) == 0
    assert width_of(Screen()) == 70
    monkeypatch.setenv("COLUMNS", "400")
    assert width_of(Screen()) == 120


def test_hanging_text() -> None:
    text = "one two three four\nhttps://example.org/a-very-long-address five"
    assert hanging(text, first="  why: ", rest="       ", width=20) == [
        "  why: one two three",
        "       four",
        "       https://example.org/a-very-long-address",
        "       five",
    ]
    assert hanging(text, first="  why: ", rest="       ", width=0) == [
        "  why: one two three four",
        "       https://example.org/a-very-long-address five",
    ]
    assert hanging("", first="a", rest="b", width=0) == ["a"]
    assert hanging("a\n\nb", first="> ", rest="  ", width=40) == ["> a", "", "  b"]


def test_advice_keeps_commands_whole() -> None:
    text = "look whether the host is there\nssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub\nadd --yes to it"
    assert advice(text, first="  fix: ", rest="       ", width=26) == [
        "  fix: look whether the",
        "       host is there",
        "       ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
        "       add --yes to it",
    ]
