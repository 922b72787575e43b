"""Which hosts testinfra can reach by itself, and what is said when nothing comes back."""

from __future__ import annotations

from typing import Any

import pytest
from verifier_doubles import EXPECTED, changed

from localai_deploy.verifier.expectations import ExpectationsInvalid, Expected
from localai_deploy.verifier.target import (
    ansible_reason,
    explain,
    inventory_reason,
    needs_ansible,
    without_marks,
)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, False),
        ({"ansible_host": "192.0.2.1", "ansible_user": "admin", "ansible_port": 22}, False),
        ({"ansible_connection": "local"}, False),
        ({"ansible_connection": "ssh", "ansible_become": True, "ansible_become_user": "root"}, False),
        ({"ansible_become_method": "sudo"}, False),
        ({"ansible_become_password": ""}, False),
        ({"ansible_ssh_common_args": "-o UserKnownHostsFile=/x -o ProxyJump=bastion"}, False),
        ({"base_user": "{{ x }}"}, False),
        ({"ansible_become_password": "x"}, True),
        ({"ansible_become_pass": "x"}, True),
        ({"ansible_become_method": "doas"}, True),
        ({"ansible_become_user": "deploy"}, True),
        ({"ansible_password": "x"}, True),
        ({"ansible_ssh_pass": "x"}, True),
        ({"ansible_connection": "ansible.builtin.ssh"}, True),
        ({"ansible_connection": "community.docker.docker"}, True),
        ({"ansible_host": "{{ address }}"}, True),
        ({"ansible_become_password": {"__ansible_vault": "x"}}, True),
    ],
)
def test_needs_ansible(variables: dict[str, Any], expected: bool) -> None:
    assert needs_ansible(variables) is expected


@pytest.mark.parametrize(
    ("said", "explained"),
    [
        ("", "the command printed nothing"),
        ("Warning: x\nHost key verification failed.\r\n", "Host key verification failed."),
        (
            "sudo: a password is required\n",
            "sudo asks for a password: give ansible_become_password",
        ),
        (
            "sudo: a terminal is required to read the password; use -S\n",
            "sudo asks for a password: give ansible_become_password",
        ),
        ("bob is not in the sudoers file.\nThis incident has been reported.", "the user may not become root"),
        ("sh: 1: python3: not found\n", "python3 is not installed there"),
        ("Traceback (most recent call last):\n  x\nValueError: y\n", "ValueError: y"),
    ],
)
def test_explain(said: str, explained: str) -> None:
    assert explain(said) == explained


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        (
            b'alpha | UNREACHABLE! => {\n "changed": false,\n "msg": "No route to host"\n}\n',
            "No route to host",
        ),
        (
            b'x\n\nalpha | UNREACHABLE! => {"msg": "@@@\\nit\'s a \\"changed\\" key\\r\\n"}',
            'it\'s a "changed" key',
        ),
        (b"alpha | UNREACHABLE! => {broken\nlast line", "last line"),
        (b"ERROR! no such module", "ERROR! no such module"),
    ],
)
def test_the_reason_of_ansible_without_its_command(printed: bytes, reason: str) -> None:
    said = (
        "Unexpected exit code 4 for CommandResult(backend=<x>, exit_status=4, "
        f"command=b'ansible --tree /tmp/x -m shell --args SECRET', _stdout={printed!r}, _stderr=b'')"
    )
    assert explain(ansible_reason(said)) == reason


def test_no_reason_of_ansible() -> None:
    assert ansible_reason("no message") == "ansible gave no reason"


def test_the_reason_of_ansible_inventory() -> None:
    said = "Unexpected exit code 1 for CommandResult(_stderr=b'[ERROR]: Failed to parse inventory: x\\nmore')"
    assert inventory_reason(said) == "Failed to parse inventory: x"


def test_marks_are_taken_off() -> None:
    marked = {"a": {"__ansible_unsafe": "{{ x }}"}, "b": [{"__ansible_unsafe": "y"}, 1], "c": {"d": None}}
    assert without_marks(marked) == {"a": "{{ x }}", "b": ["y", 1], "c": {"d": None}}


def test_expected() -> None:
    expected = Expected.from_data(EXPECTED)
    assert expected.unit == "localai-llama-cpp.service"
    assert expected.alias == "small"
    assert expected.runtime_package == ("llama.cpp", "0.7.0", "cpu_lab_0")
    assert expected.model_paths == {"small.gguf": "/var/lib/localai-deploy/models/small.gguf"}


@pytest.mark.parametrize(
    ("bind", "connect"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.7", "192.0.2.7")],
)
def test_where_the_api_is_reached(bind: str, connect: str) -> None:
    expected = Expected.from_data(changed(EXPECTED, "record/service/bind", bind))
    assert expected.connect_address == connect


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({}, "KeyError: 'record'"),
        ({"record": {"service": {}}}, "not one that this version"),
        (changed(EXPECTED, "record/managed_by", "x"), "not one that this version"),
        (changed(EXPECTED, "record/schema", 99), "not one that this version"),
        (changed(EXPECTED, "packages", {}), "packages is empty"),
        (changed(EXPECTED, "model_sha256", {}), "model_sha256 is empty"),
        (changed(EXPECTED, "record/service/command", []), "record.service.command is empty"),
        (changed(EXPECTED, "record/service/command", ["x"]), "--alias in the command is empty"),
        (changed(EXPECTED, "packages/llama.cpp", {"version": "1"}), "TypeError"),
        (changed(EXPECTED, "record/service", "text"), "TypeError"),
    ],
)
def test_expectations_that_would_hold_everywhere_are_refused(data: dict[str, Any], why: str) -> None:
    with pytest.raises(ExpectationsInvalid, match=why):
        Expected.from_data(data)
