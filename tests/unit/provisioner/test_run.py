"""A real ansible-runner run on this machine: what its children and artefacts may know."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from localai_deploy.errors import LocalaiError
from localai_deploy.provisioner.events import Event, TaskChanged, TaskFailed
from localai_deploy.provisioner.render import Project
from localai_deploy.provisioner.run import ALLOWED_ENVIRONMENT, RunResult, run_playbook
from localai_deploy.provisioner.secret_files import secret_inventory

SENTINEL = "sentinel-6f1c9d"
AWKWARD = "x{{ 1 }}y %}$ '\""
PLAYBOOK = """---
- name: Probe
  hosts: inference
  gather_facts: false
  tasks:
    - name: Show the environment
      ansible.builtin.command: env
      register: _env
      changed_when: true
      tags: [probe]
    - name: Use the secret
      ansible.builtin.command: "true"
      environment:
        TOKEN: "{{ model_store_token }}"
      changed_when: false
      no_log: true
      tags: [probe]
    - name: Compare an awkward secret
      ansible.builtin.command: "true"
      changed_when: awkward_secret | hash('sha256') != wanted_hash
      tags: [awkward]
    - name: Break
      ansible.builtin.shell: |
        echo '{"error_id": "no-space", "what": "disk full"}'; exit 3
      changed_when: false
      tags: [break]
    - name: Rescue
      tags: [rescue]
      block:
        - name: Fail first
          ansible.builtin.command: "false"
          changed_when: false
      rescue:
        - name: Say why
          ansible.builtin.debug:
            msg: fine
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    directory = tmp_path / "project"
    (directory / "inventory").mkdir(parents=True)
    (directory / "inventory" / "hosts.yml").write_text(
        "inference: {hosts: {box: {ansible_connection: local,"
        " ansible_python_interpreter: /usr/bin/python3}}}\n"
    )
    (directory / "site.yml").write_text(PLAYBOOK)
    (directory / "ansible.cfg").write_text("[defaults]\n")
    return Project(directory)


def run(project: Project, tag: str) -> tuple[RunResult, list[Event]]:
    events: list[Event] = []
    digest = hashlib.sha256(AWKWARD.encode()).hexdigest()
    secret = {"model_store_token": SENTINEL, "awkward_secret": AWKWARD, "wanted_hash": digest}
    with secret_inventory({"box": secret}) as secrets:
        result = run_playbook(
            project,
            "site.yml",
            tags=[tag],
            hosts=["box"],
            secrets=secrets,
            artifacts=project.directory.parent / "ansible" / tag,
            on_event=events.append,
        )
    return result, events


def all_text(directory: Path) -> str:
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return "\n".join(path.read_text(errors="replace") for path in files)


def test_planted_sentinels_are_found_nowhere(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "PROXMOX_TOKEN_SECRET", "AWS_SECRET_ACCESS_KEY", "ANSIBLE_BECOME_PASS"):
        monkeypatch.setenv(name, SENTINEL)
    result, events = run(project, "probe")
    assert result.failed == {}
    assert result.changed == {"box": 1}
    assert [event for event in events if isinstance(event, TaskChanged)]
    assert SENTINEL not in all_text(project.directory.parent)


def test_children_see_only_the_allowed_environment(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURPRISE", "x")
    run(project, "probe")
    recorded = json.loads((project.directory.parent / "ansible" / "probe" / "command").read_text())["env"]
    assert "SURPRISE" not in recorded
    assert recorded["ANSIBLE_HOST_KEY_CHECKING"] == "True"
    ours = {name for name in recorded if os.environ.get(name) == recorded[name]}
    assert ours <= set(ALLOWED_ENVIRONMENT)


def test_secret_that_looks_like_a_template_arrives_whole(project: Project) -> None:
    result, _ = run(project, "awkward")
    assert (result.changed, result.failed) == ({}, {})


def test_failure_carries_the_programs_own_error(project: Project) -> None:
    result, events = run(project, "break")
    assert result.failed["box"].problem["error_id"] == "no-space"
    assert [event.task for event in events if isinstance(event, TaskFailed)] == ["Break"]


def test_rescued_failure_is_no_failure(project: Project) -> None:
    result, _ = run(project, "rescue")
    assert result.failed == {}


def test_ansible_that_cannot_work_is_an_error(project: Project) -> None:
    (project.directory / "site.yml").write_text("- hosts: [\n")
    with pytest.raises(LocalaiError) as caught:
        run(project, "probe")
    assert caught.value.error_id == "ansible-failed"


def test_secret_file_is_private_in_memory_and_gone() -> None:
    with secret_inventory({"box": {"a": SENTINEL}}) as path:
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert SENTINEL in path.read_text()
    assert not path.parent.exists()
