"""One host as testinfra reaches it, and how a probe is run there as root."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import testinfra
from testinfra.host import Host

from localai_deploy.verifier.expectations import VARIABLE, Expected
from localai_deploy.verifier.probes.bootstrap import MARK
from localai_deploy.verifier.program import remote_command

_NATIVE_CONNECTIONS = {"ssh", "smart", "local"}
_ONLY_ANSIBLE_KNOWS = {
    "ansible_become_exe",
    "ansible_become_flags",
    "ansible_become_pass",
    "ansible_become_password",
    "ansible_password",
    "ansible_ssh_executable",
    "ansible_ssh_host",
    "ansible_ssh_pass",
    "ansible_ssh_password",
    "ansible_ssh_port",
    "ansible_ssh_user",
    "ansible_sudo_pass",
}
_UNSAFE = "__ansible_unsafe"
_HINTS = {
    "a password is required": "sudo asks for a password: give ansible_become_password",
    "a terminal is required": "sudo asks for a password: give ansible_become_password",
    "Missing sudo password": "sudo asks for a password: give ansible_become_password",
    "Incorrect sudo password": "ansible_become_password is not the user's password",
    "not in the sudoers file": "the user may not become root",
    "python3: not found": "python3 is not installed there",
}
_PRINTED = re.compile(r"""_stdout=(b'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*")""")


class ProbeFailed(Exception):  # noqa: N818 - reads as what happened
    """No evidence could be gathered; the text says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a remote command left."""

    stdout: str
    stderr: str


class Target:
    """A host of the inventory that ``ANSIBLE_INVENTORY`` names.

    :param name: as in the inventory.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @cached_property
    def host(self) -> Host:
        """The host for testinfra's own modules, by Ansible where its own SSH would not do."""
        host = testinfra.get_host(self.name, connection="ansible")
        host.backend.force_ansible = needs_ansible(read_variables(host, self.name))
        return host

    @cached_property
    def variables(self) -> Mapping[str, Any]:
        """The host's variables; ProbeFailed when the inventory cannot be read or has no such host."""
        return read_variables(self.host, self.name)

    @cached_property
    def expected(self) -> Expected:
        """What the inventory expects of the host; ProbeFailed without, ExpectationsInvalid for others."""
        if VARIABLE not in self.variables:
            raise ProbeFailed(f"the inventory has no {VARIABLE} for {self.name}")
        return Expected.from_data(without_marks(self.variables[VARIABLE]))

    def probe(self, name: str, request: Mapping[str, Any]) -> dict[str, Any]:
        """Evidence of the probe ``name``, gathered as root by one remote command.

        :raises ProbeFailed: no connection, no root, no python3, or the probe itself broke.
        """
        command = remote_command(name, request)
        run = run_by_ansible if self.host.backend.force_ansible else run_natively
        answer = run(self.host, self.name, command)
        for line in reversed(answer.stdout.splitlines()):
            if line.startswith(MARK):
                evidence: dict[str, Any] = json.loads(line.removeprefix(MARK))
                return evidence
        raise ProbeFailed(f"no evidence from {self.name}: {explain(answer.stderr or answer.stdout)}")


def read_variables(host: Host, name: str) -> Mapping[str, Any]:
    """Variables of the host as Ansible reads them; ProbeFailed when it does not know it."""
    try:
        variables: Mapping[str, Any] = host.backend.get_variables()
    except (AssertionError, ValueError) as error:
        raise ProbeFailed(f"the inventory cannot be read: {inventory_reason(str(error))}") from error
    if not any(name in members for members in variables["groups"].values()):
        raise ProbeFailed(f"{name} is not in the inventory")
    return variables


def without_marks(value: Any) -> Any:  # noqa: ANN401 - a variable of any shape
    """``value`` without the marks that ``ansible-inventory`` puts on text that is no template."""
    if isinstance(value, Mapping):
        if value.keys() == {_UNSAFE}:
            return value[_UNSAFE]
        return {name: without_marks(item) for name, item in value.items()}
    return [without_marks(item) for item in value] if isinstance(value, list) else value


def needs_ansible(variables: Mapping[str, Any]) -> bool:
    """Whether only Ansible can connect: testinfra's own SSH sends no password and knows no template."""
    if str(variables.get("ansible_connection", "ssh")) not in _NATIVE_CONNECTIONS:
        return True
    if str(variables.get("ansible_become_method") or "sudo") != "sudo":
        return True
    if str(variables.get("ansible_become_user") or "root") != "root":
        return True
    connecting = {name: value for name, value in variables.items() if name.startswith("ansible_")}
    return any(
        value and (name in _ONLY_ANSIBLE_KNOWS or "{{" in str(value)) for name, value in connecting.items()
    )


def run_natively(host: Host, name: str, command: str) -> Answer:
    """Run by testinfra's own SSH or locally; the command itself becomes root."""
    native = host.backend.ansible_runner.get_host(name)
    native.backend.sudo = False
    try:
        done = native.run(command)
    except RuntimeError as error:
        done = error.args[0]
    return Answer(done.stdout, done.stderr)


def run_by_ansible(host: Host, name: str, command: str) -> Answer:
    """Run by Ansible's ``shell`` module, which becomes root with the inventory's password."""
    try:
        result = host.backend.run_ansible("shell", command, check=False, become=True)
    except (AssertionError, RuntimeError) as error:
        raise ProbeFailed(f"{name} cannot be reached: {explain(ansible_reason(str(error)))}") from error
    said = result.get("stderr") or result.get("module_stderr") or result.get("msg") or ""
    return Answer(str(result.get("stdout", "")), str(said))


def explain(text: str) -> str:
    """The last line that says something, or what it is known to mean."""
    for symptom, meaning in _HINTS.items():
        if symptom in text:
            return meaning
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "the command printed nothing"


def ansible_reason(text: str) -> str:
    """The message within what testinfra says about a failed ``ansible``; the rest is the command."""
    stdout = _PRINTED.search(text)
    if stdout is None:
        return "ansible gave no reason"
    printed: str = ast.literal_eval(stdout.group(1)).decode("utf-8", "replace")
    _, mark, result = printed.partition(" => ")
    try:
        return str(json.loads(result)["msg"]) if mark else printed
    except (ValueError, KeyError):
        return printed


def inventory_reason(text: str) -> str:
    """Ansible's error line within what testinfra says about a failed ``ansible-inventory``."""
    found = re.search(r"(?:ERROR!?|\[ERROR\]):? (.*?)(?:\\n|$)", text)
    return found.group(1) if found else "ansible-inventory gave no reason"
