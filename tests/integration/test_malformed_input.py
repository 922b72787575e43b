"""Input that is malformed: exit 2, an error with an id, nothing looked at; no host is needed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.product import Ended, User, write_inventory
from tests.integration.ssh_server import ADDRESS, free_port

MODEL = "hf:org/repo/model.gguf"
PASSWORD = "never-to-be-seen-anywhere"


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.mark.parametrize(
    "host", ["box;touch pwned", "$(touch pwned)", "-oProxyCommand=touch pwned", "../box", ""]
)
def test_a_host_name_for_a_shell(user: User, tmp_path: Path, host: str) -> None:
    user.refused(2, "host-name-invalid", "up", "--model", MODEL, "--yes", "--", host)
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(
    ("reference", "error_id"),
    [
        ("hf:org/repo/$(touch pwned).gguf", "model-reference-invalid"),
        ("https://box/a'b;touch pwned.gguf", "model-reference-invalid"),
        ("file:/tmp/`touch pwned`.gguf", "model-reference-invalid"),
        ("hf:org/../../etc/passwd.gguf", "model-reference-invalid"),
        ("http://box/model.gguf", "model-reference-invalid"),
        ("https://box/model.gguf#sha256=short", "model-reference-invalid"),
        ("hf:org/repo/pytorch_model.bin", "model-format-unsafe"),
    ],
)
def test_a_model_reference_for_a_shell(user: User, tmp_path: Path, reference: str, error_id: str) -> None:
    user.refused(2, error_id, "up", "box", "--model", reference, "--yes")
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize(
    ("words", "error_id"),
    [
        (("up",), "host-missing"),
        (("up", "box", "--model", MODEL, "--port", "0"), "setting-invalid"),
        (("up", "box", "--model", MODEL, "--port", "http"), "usage"),
        (("up", "box", "--model", MODEL, "--bind", "example.org"), "setting-invalid"),
        (("up", "box", "--model", MODEL, "--gpu", "0000:01:00.0"), "gpu-needs-node"),
        (("up", "box", "--model", MODEL, "--accept-host-key", "yes"), "setting-invalid"),
        (("up", "box", "--model", MODEL, "--ask-become-pass"), "not-a-terminal"),
        (("up", "box", "--model", MODEL, "--no-such-option"), "usage"),
        (("up", "box", "--model", MODEL, "--inventory", "/nowhere"), "inventory-unreadable"),
        (("upp", "box"), "usage"),
        (("down",), "usage"),
        (("verify",), "host-missing"),
        (("model", "pull", "box", "nothing"), "model-reference-invalid"),
        (("render", "box", "--model", MODEL), "usage"),
    ],
)
def test_words_that_make_no_command(user: User, words: tuple[str, ...], error_id: str) -> None:
    user.refused(2, error_id, *words)


def from_inventory(user: User, text: str, name: str = "hosts.yml") -> Callable[[str], Ended]:
    """Write an inventory; the answer refuses ``up`` of all of it with the id it is given."""
    folder = user.home / "inventory"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return lambda error_id: user.refused(2, error_id, "up", "--inventory", str(folder), "--yes")


@pytest.mark.parametrize(
    ("text", "error_id"),
    [
        ("inference: {hosts: {box: {localai_port: eighty}}}", "setting-invalid"),
        ("inference: {hosts: {box: {localai_models: [hf:a]}}}", "model-reference-invalid"),
        ("inference: {hosts: {box: {localai_mirrors: {hub: 'https://x'}}}}", "mirror-invalid"),
        ("inference: {hosts: {box: {ansible_user: $(id)}}}", "host-name-invalid"),
        ("inference: {hosts: {'box;id': {ansible_host: box}}}", "host-name-invalid"),
        ("inference: {hosts: [box", "inventory-unreadable"),
        ("inference: {hosts: {box: {localai_port: '{{ nowhere }}'}}}", "inventory-unreadable"),
        ("inference: {hosts: {}}", "host-missing"),
        ("\x00\x01\x02", "host-name-invalid"),
        ("", "host-missing"),
    ],
)
def test_an_inventory_that_is_wrong(user: User, text: str, error_id: str) -> None:
    from_inventory(user, text)(error_id)


def test_an_unknown_variable_is_named_with_file_line_and_suggestion(user: User) -> None:
    seen = from_inventory(
        user, "# what is wanted\nlocalai_context_lenght: 8192\n", "group_vars/inference.yml"
    )
    from_inventory(user, "inference: {hosts: {box: {}}}\n")
    stderr = seen("variable-unknown").stderr
    assert "group_vars/inference.yml:2" in stderr
    assert "did you mean localai_context_length?" in stderr


def test_a_host_that_the_inventory_lacks(user: User) -> None:
    folder = write_inventory(user.home / "inventory", {"kitchen": {}})
    seen = user.refused(2, "host-not-in-inventory", "up", "--inventory", str(folder), "kitchn")
    assert "did you mean kitchen?" in seen.stderr


def test_a_vaulted_value_without_its_password(user: User) -> None:
    vault = (
        "inference:\n  hosts:\n    box:\n      localai_models: [hf:org/repo/model.gguf]\n"
        "      ansible_become_password: !vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        3333\n"
    )
    from_inventory(user, vault)("inventory-unreadable")


def test_a_secret_of_the_inventory_is_not_part_of_its_errors(user: User) -> None:
    text = f"inference:\n  hosts:\n    box: {{ansible_become_password: {PASSWORD}, localai_port: x}}\n"
    seen = from_inventory(user, text)("setting-invalid")
    assert PASSWORD not in seen.stderr + seen.stdout
    shown = user.run("config", "show", "--inventory", str(user.home / "inventory"), "-o", "json")
    assert PASSWORD not in shown.stderr + shown.stdout


def test_a_host_that_has_no_address(user: User) -> None:
    seen = user.refused(3, "host-unknown", "up", "no-such-host.invalid", "--model", MODEL, "--yes")
    assert "no-such-host.invalid" in seen.stderr


def test_a_host_that_does_not_listen(user: User) -> None:
    host = {"ansible_host": ADDRESS, "ansible_port": free_port(), "localai_models": [MODEL]}
    folder = write_inventory(user.home / "inventory", {"box": host})
    user.refused(3, "host-unreachable", "up", "--inventory", str(folder), "--yes")


def test_nothing_is_written_for_malformed_input(user: User) -> None:
    user.refused(2, "model-reference-invalid", "up", "box", "--model", "nonsense", "--yes")
    assert not [path for path in user.home.rglob("*") if path.is_file()]


def test_every_error_is_explained(user: User) -> None:
    told = json.loads(user.run("up", "-o", "json").stdout)["error"]["id"]
    assert user.run("explain", told).code == 0
