"""A role's argument specs are its interface: they tell the same as its defaults."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.roles.driver import ROLES
from tests.roles.readme import NAMES, readme


def specs_of(role: str) -> dict[str, dict[str, Any]]:
    """Options per entry point."""
    data = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())
    return {entry: spec["options"] for entry, spec in data["argument_specs"].items()}


def defaults_of(role: str) -> dict[str, Any]:
    return yaml.safe_load((ROLES / role / "defaults" / "main.yml").read_text())


def test_the_roles() -> None:
    names = ("base", "conda", "gateway", "llama_cpp", "model_store", "nvidia_driver", "service", "vfio")
    assert names == NAMES


@pytest.mark.parametrize("role", NAMES)
def test_defaults_equal_the_specs(role: str) -> None:
    options = specs_of(role)["main"]
    optional = {name: option["default"] for name, option in options.items() if not option.get("required")}
    assert optional == defaults_of(role)


@pytest.mark.parametrize("role", NAMES)
def test_uninstall_takes_a_part_of_the_same_options_and_requires_none(role: str) -> None:
    entries = specs_of(role)
    assert entries["uninstall"].keys() <= entries["main"].keys()
    defaults = {name: option["default"] for name, option in entries["uninstall"].items()}
    assert defaults == {name: entries["main"][name]["default"] for name in defaults}
    assert not [name for name, option in entries["uninstall"].items() if option.get("required")]


@pytest.mark.parametrize("role", NAMES)
def test_every_option_is_described_and_named_after_the_role(role: str) -> None:
    for options in specs_of(role).values():
        assert all(name.startswith(f"{role}_") and option["description"] for name, option in options.items())


@pytest.mark.parametrize("role", NAMES)
def test_every_role_can_be_taken_away(role: str) -> None:
    assert (ROLES / role / "tasks" / "uninstall.yml").is_file()


@pytest.mark.parametrize("role", NAMES)
def test_readme_is_the_one_of_the_specs(role: str) -> None:
    assert (ROLES / role / "README.md").read_text() == readme(role)
