"""Run a rendered project with ansible-runner. The only importer of ansible_runner.

Three habits of ansible-runner are undone here: it hands the whole environment to its children and
records it in its artefacts, it switches host key checking off, and it keeps signal handlers of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localai_deploy.errors import LocalaiError
from localai_deploy.provisioner.bound_process import bound_command
from localai_deploy.provisioner.events import Event, RunEnded, TaskChanged, TaskFailed, parse_event
from localai_deploy.provisioner.render import Project

ALLOWED_ENVIRONMENT = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "USER",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
)
"""What a child of ansible-runner may see of our environment. SSH needs HOME, USER and the agent."""


@dataclass(slots=True)
class RunResult:
    """How a playbook run ended, per host.

    :param changed: number of tasks that changed the host.
    :param failed: the failure of each host that did not come through.
    """

    changed: dict[str, int] = field(default_factory=dict)
    failed: dict[str, TaskFailed] = field(default_factory=dict)
    log: Path = Path()


def run_playbook(
    project: Project,
    playbook: str,
    *,
    tags: Sequence[str],
    hosts: Sequence[str],
    secrets: Path,
    artifacts: Path,
    on_event: Callable[[Event], None],
    forks: int = 1,
    check: bool = False,
) -> RunResult:
    """Run ``playbook`` for ``tags`` on ``hosts``.

    :param secrets: a second inventory source with secret variables.
    :param artifacts: directory for this run's events and output, kept as the log.
    :param forks: hosts that are worked on at once.
    :param check: change nothing (``--check --diff``).
    :raises LocalaiError: ``ansible-failed`` when Ansible itself could not work.
    """
    result = RunResult(log=artifacts)
    with _signals_kept():
        runner = _prepared_runner(project, playbook, tags, hosts, secrets, artifacts, forks, check=check)
        runner.event_handler = lambda raw: _handle(raw, result, on_event)
        try:
            status, code = runner.run()
        except (OSError, ValueError) as error:
            raise _ansible_failed(str(error), artifacts) from error
    if status == "canceled":
        raise KeyboardInterrupt
    if code != 0 and not result.failed:
        raise _ansible_failed(_last_lines(artifacts), artifacts)
    return result


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Take back the handlers that ansible-runner sets for good: later on they would swallow Ctrl-C."""
    ours = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in ours.items():
                signal.signal(number, handler)


def _prepared_runner(
    project: Project,
    playbook: str,
    tags: Sequence[str],
    hosts: Sequence[str],
    secrets: Path,
    artifacts: Path,
    forks: int,
    *,
    check: bool,
) -> Any:  # noqa: ANN401 - ansible_runner has no types
    import ansible_runner.interface

    artifacts.mkdir(parents=True, exist_ok=True, mode=0o700)
    command_line = ["--tags", ",".join(tags), "-i", str(secrets), "--forks", str(forks)]
    if check:
        command_line += ["--check", "--diff"]
    runner = ansible_runner.interface.init_runner(
        private_data_dir=str(artifacts.parent),
        project_dir=str(project.directory),
        artifact_dir=str(artifacts.parent),
        ident=artifacts.name,
        playbook=playbook,
        inventory=str(project.inventory),
        limit=",".join(hosts),
        cmdline=" ".join(command_line),
        quiet=True,
        suppress_env_files=True,
        settings={"suppress_ansible_output": True},
    )
    runner.config.env = _child_environment(runner.config.env, project, secrets.parent)
    runner.config.command = [*bound_command(_ansible_playbook()), *runner.config.command[1:]]
    return runner


def _child_environment(prepared: Mapping[str, str], project: Project, memory: Path) -> dict[str, str]:
    """What the runner itself set, plus the allowed part of ours.

    :param memory: Ansible writes what it is about to copy there, secrets too.
    """
    environment = {key: value for key, value in prepared.items() if os.environ.get(key) != value}
    environment |= {key: os.environ[key] for key in ALLOWED_ENVIRONMENT if key in os.environ}
    return environment | {
        "ANSIBLE_CONFIG": str(project.directory / "ansible.cfg"),
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_LOCAL_TEMP": str(memory / "ansible"),
        "ANSIBLE_NOCOLOR": "1",
    }


def _ansible_playbook() -> str:
    """The one of our own installation, not the first on PATH."""
    own = Path(sys.executable).with_name("ansible-playbook")
    found = str(own) if own.exists() else shutil.which("ansible-playbook")
    if not found:
        raise LocalaiError(
            "ansible-missing",
            "ansible-playbook is not installed beside localai-deploy",
            hint="install localai-deploy with its dependencies into one environment",
        )
    return found


def _handle(raw: Mapping[str, Any], result: RunResult, on_event: Callable[[Event], None]) -> bool:
    event = parse_event(raw)
    match event:
        case RunEnded():
            result.failed = {host: one for host, one in result.failed.items() if host in event.failed_hosts}
        case TaskFailed():
            result.failed.setdefault(event.host, event)
        case TaskChanged():
            result.changed[event.host] = result.changed.get(event.host, 0) + 1
    if event is not None:
        on_event(event)
    return True


def _ansible_failed(why: str, artifacts: Path) -> LocalaiError:
    return LocalaiError(
        "ansible-failed",
        "Ansible could not run the playbook",
        why=why,
        hint=f"the whole output is in {artifacts}/stdout",
    )


def _last_lines(artifacts: Path) -> str:
    try:
        lines = (artifacts / "stdout").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "it printed nothing"
    return "\n".join(line for line in lines[-5:] if line.strip())
