"""Say in words how two pieces of plain data differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_SHOWN_CHARACTERS = 120


def data_differences(expected: Any, found: Any, at: str = "") -> Iterator[str]:  # noqa: ANN401 - any plain data
    """Each place where ``found`` is not ``expected``: ``service.port is 8081, not 8080``."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name in sorted({*expected, *found}, key=str):
            place = f"{at}.{name}" if at else str(name)
            if name not in found:
                yield f"{place} is missing"
            elif name not in expected:
                yield f"{place} is not expected"
            else:
                yield from data_differences(expected[name], found[name], place)
    elif type(expected) is not type(found) or expected != found:
        yield f"{at or 'it'} is {_short(found)}, not {_short(expected)}"


def argument_differences(expected: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """How an argument list differs from the expected one, option by option; order counts only at the end."""
    expected_options, found_options = options(expected), options(found)
    for option in dict.fromkeys([*expected_options, *found_options]):
        if option not in found_options:
            yield f"{option} is missing"
        elif option not in expected_options:
            yield f"{option} is not in the plan"
        elif found_options[option] != expected_options[option]:
            yield f"{option} is {_words(found_options[option])}, not {_words(expected_options[option])}"
    if expected_options == found_options and list(expected) != list(found):
        yield "the arguments stand in another order"


def options(arguments: Sequence[str]) -> dict[str, list[str]]:
    """Option → the words after it; a repeated option collects the words of all its places."""
    found: dict[str, list[str]] = {}
    option = "(before any option)"
    for word in arguments:
        if word.startswith("-") and not word[1:2].isdigit():
            option = word
            found.setdefault(option, [])
        else:
            found.setdefault(option, []).append(word)
    return found


def _words(words: Sequence[str]) -> str:
    return " ".join(words) or "without a value"


def _short(value: Any) -> str:  # noqa: ANN401 - any plain data
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
