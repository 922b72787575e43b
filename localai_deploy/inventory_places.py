"""Where an inventory has a host and its password, and errors that tell it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localai_deploy.errors import LocalaiError
from localai_deploy.inventory_connection import PASSWORD_VARIABLES
from localai_deploy.inventory_sources import find_host, find_source

_ABOUT_PASSWORD = {"sudo-password-wrong", "sudo-password-needed", "sudo-missing"}
_ABOUT_CONNECTION = {
    *("host-unknown", "host-unreachable", "host-unreadable", "ssh-auth-failed", "ssh-config-invalid"),
    *("host-key-unknown", "host-key-changed", "host-key-mismatch", "jump-host-key-unknown"),
}


@dataclass(frozen=True, slots=True)
class Places:
    """``FILE:LINE`` at which a host is listed, and of sudo's password; empty where there is none."""

    host: str = ""
    password: str = ""


NOWHERE = Places()


def places_of(sources: Sequence[Path], entry: Mapping[str, Any], *, password_is_asked_for: bool) -> Places:
    """Out of what Ansible's reader says of a host; a password from the terminal is in no file."""
    name = str(entry["name"])
    variable = next((one for one in PASSWORD_VARIABLES if entry["variables"].get(one)), "")
    in_file = variable and not password_is_asked_for
    password = find_source(sources, name, entry["groups"], variable) if in_file else ""
    return Places(find_host(sources, name), password)


def placed(error: LocalaiError, name: str, places: Places) -> LocalaiError:
    """The same error with the host's name and the place to correct, where it is about reaching the host."""
    if not places.host or error.error_id not in _ABOUT_CONNECTION | _ABOUT_PASSWORD:
        return error
    place = places.password if error.error_id in _ABOUT_PASSWORD and places.password else places.host
    what = f"{name} ({place}): {error.what}"
    return LocalaiError(error.error_id, what, why=error.why, hint=error.hint, exit_code=error.exit_code)
