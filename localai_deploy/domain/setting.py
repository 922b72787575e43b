"""A setting, and the checks of values: each takes name and raw value, and returns the typed one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain.archives import VARIANTS, checked_archives
from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.reference import parse_model_reference, repository_of
from localai_deploy.errors import InputError

Check = Callable[[str, Any], Any]
Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One variable of an inventory.

    :param check: takes the raw value, returns the typed one, raises InputError.
    :param schema: JSON schema of the value.
    :param secret: the value is never shown.
    """

    name: str
    default: Any
    meaning: str
    check: Check
    schema: Schema
    secret: bool = False


BOOLEAN_SCHEMA: Schema = {"type": "boolean"}
TEXT_SCHEMA: Schema = {"type": "string"}
TEXTS_SCHEMA: Schema = {"type": ["array", "string"], "items": {"type": "string"}}


def invalid(name: str, value: object, expected: str) -> InputError:
    """What to raise of a value that is not as expected."""
    return InputError("setting-invalid", f"{name} is {value!r}", why=f"expected {expected}")


def integer(minimum: int, maximum: int) -> tuple[Check, Schema]:
    """Check for a whole number in a range, with its schema."""

    def check(name: str, value: object) -> int:
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise invalid(name, value, f"a whole number from {minimum} to {maximum}")
        return int(value)

    return check, {"type": "integer", "minimum": minimum, "maximum": maximum}


def choice(*allowed: str) -> tuple[Check, Schema]:
    """Check for one of several words, with its schema."""

    def check(name: str, value: object) -> str:
        if value not in allowed:
            raise invalid(name, value, f"one of {', '.join(allowed)}")
        return str(value)

    return check, {"enum": list(allowed)}


def word_or_integer(words: tuple[str, ...], minimum: int, maximum: int) -> tuple[Check, Schema]:
    """Check for one of several words or a whole number, with its schema."""
    whole, schema = integer(minimum, maximum)

    def check(name: str, value: object) -> str | int:
        if isinstance(value, str) and value in words:
            return value
        try:
            return int(whole(name, value))
        except InputError:
            raise invalid(name, value, f"{', '.join(words)}, or {minimum} to {maximum}") from None

    return check, {"anyOf": [{"enum": list(words)}, schema]}


def boolean(name: str, value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise invalid(name, value, "true or false")
    return value


def text(name: str, value: object) -> str:
    """Any text."""
    if not isinstance(value, str):
        raise invalid(name, value, "text")
    return str(value)


def secret(name: str, value: object) -> str:
    """Text that no message shows."""
    if not isinstance(value, str):
        raise InputError(
            "setting-invalid", f"{name} is no text (its value is not shown)", hint="put it in quotes"
        )
    return str(value)


def channel(name: str, value: object) -> str:
    """A conda channel's name."""
    given = text(name, value)
    if not given or not all(
        part and part.replace("-", "").replace("_", "").isalnum() for part in given.split("/")
    ):
        raise invalid(name, value, "a channel's name, such as conda-forge")
    return given


def address(name: str, value: object) -> str:
    """An IP address."""
    import ipaddress

    given = text(name, value)
    try:
        return str(ipaddress.ip_address(given))
    except ValueError as error:
        raise invalid(name, value, "an IP address, such as 127.0.0.1") from error


def networks(name: str, value: object) -> tuple[str, ...]:
    """IP addresses or networks."""
    import ipaddress

    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list | tuple):
        raise invalid(name, value, "a list of addresses or networks")
    try:
        found = [ipaddress.ip_network(text(name, one)) for one in given]
    except ValueError as error:
        raise invalid(name, value, "addresses or networks, such as 192.0.2.7 or 192.0.2.0/24") from error
    return tuple(str(one).removesuffix(f"/{one.max_prefixlen}") for one in found)


def models(name: str, value: object) -> tuple[str, ...]:
    """Model references with distinct file names; a repository's file is not known yet."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise invalid(name, value, "a list of model references")
    references = tuple(str(item) for item in value)
    names = [
        reference if repository_of(reference) else parse_model_reference(reference).file_name
        for reference in references
    ]
    twice = sorted({file_name for file_name in names if names.count(file_name) > 1})
    if twice:
        raise invalid(name, value, f"distinct file names ({', '.join(twice)} is there twice)")
    return references


def mirrors(name: str, value: object) -> Mirrors:
    """Base URLs by name."""
    if not isinstance(value, Mapping):
        raise invalid(name, value, "a mapping of mirror names to URLs")
    return Mirrors.from_mapping(value)


def archives(name: str, value: object) -> Mapping[str, tuple[str, ...]]:
    """References of archives by variant."""
    if not isinstance(value, Mapping):
        raise invalid(name, value, f"a mapping of {', '.join(VARIANTS)} to archives")
    return checked_archives(value)


def host_key(name: str, value: object) -> str:
    """A fingerprint of an SSH host key."""
    import re

    given = text(name, value)
    if given and not re.fullmatch(r"SHA256:[A-Za-z0-9+/]{43}", given):
        raise invalid(name, value, "a fingerprint as `ssh-keygen -l` prints it (SHA256:…)")
    return given


def host_name(name: str, value: object) -> str:
    """A host's name, or nothing."""
    from localai_deploy.domain.connection import check_host_name

    given = text(name, value)
    if given:
        check_host_name(given)
    return given


def texts(name: str, value: object) -> tuple[str, ...]:
    """A list of texts; one alone may stand without a list."""
    if isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise invalid(name, value, "a list of texts")
    return tuple(value)
