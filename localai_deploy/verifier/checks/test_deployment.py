"""What is installed and what runs: record, environment, unit, process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from localai_deploy.domain import paths
from localai_deploy.domain.deployment import is_our_record
from localai_deploy.runtimes.base import API_KEY_FILE_TOKEN
from localai_deploy.verifier.checking import Evidence, check, expect_none, fail, skip
from localai_deploy.verifier.differences import argument_differences, data_differences
from localai_deploy.verifier.evidence import HostState, ProcessState, UnitState
from localai_deploy.verifier.expectations import Expected

MOST_RESTARTS = 3
MOST_EXPOSURE = 1.5
CREDENTIAL_FOLDER = "/run/credentials/"


@check("record", "the host's ownership record is the planned one")
def test_record(state: HostState, expected: Expected, evidence: Evidence) -> None:
    if state.record.error:
        fail(state.record.error)
    found = state.record.value
    if not isinstance(found, dict) or not is_our_record(found):
        fail(f"{paths.DEPLOYMENT_FILE} is not a record of this version of localai-deploy")
    evidence["name"] = found.get("name")
    expect_none(data_differences(expected.record, found))


@check("environment-locked", "the conda environment holds exactly the locked packages")
def test_environment_locked(state: HostState, expected: Expected, evidence: Evidence) -> None:
    evidence["packages"] = {one.name or one.file: f"{one.version} {one.build}" for one in state.packages}
    expect_none(package_problems(state, expected))


def package_problems(state: HostState, expected: Expected) -> Iterator[str]:
    """Packages that are missing, foreign, doubled or other than locked."""
    names = [one.name for one in state.packages]
    for name in sorted(expected.packages.keys() - set(names)):
        yield f"{name} of the lock is not installed"
    for one in state.packages:
        locked = expected.packages.get(one.name)
        if locked is None:
            yield f"{one.name or one.file} is not in the lock"
        elif names.count(one.name) > 1:
            yield f"{one.name} is installed more than once ({one.file})"
        elif (one.version, one.build) != (locked.version, locked.build):
            yield f"{one.name} is {one.version} {one.build}, not {locked.version} {locked.build}"
        elif one.sha256 != locked.sha256 or not one.sha256:
            yield f"{one.name} came from an archive of SHA-256 {one.sha256 or 'unknown'}, not {locked.sha256}"


@check("service-active", "the service runs, starts with the host, and is not root")
def test_service_active(state: HostState, expected: Expected, evidence: Evidence) -> None:
    unit = state.unit
    evidence.update(
        unit=expected.unit,
        state=f"{unit.active_state} ({unit.sub_state})",
        enabled=unit.unit_file_state,
        restarts=unit.restarts,
        user=state.process.user if state.process else None,
        pid=state.process.pid if state.process else None,
    )
    expect_none([*unit_problems(unit, expected.unit), *user_problems(unit, state.process)])


def unit_problems(unit: UnitState, name: str) -> Iterator[str]:
    """What systemd says against the unit."""
    if unit.load_state != "loaded":
        yield f"{name} is {unit.load_state or 'unknown to systemd'}"
        return
    if (unit.active_state, unit.sub_state) != ("active", "running"):
        yield f"{name} is {unit.active_state} ({unit.sub_state})"
    if unit.unit_file_state != "enabled":
        yield f"{name} is {unit.unit_file_state or 'not enabled'}: it will not start with the host"
    if unit.restarts > MOST_RESTARTS:
        yield f"{name} was restarted {unit.restarts} times by systemd"


def user_problems(unit: UnitState, process: ProcessState | None) -> Iterator[str]:
    """Whether the process is an unprivileged user's, and the one that the unit names."""
    if process is None:
        yield "the service has no main process"
        return
    if 0 in process.uids:
        yield f"process {process.pid} runs as root"
    if unit.user in {"", "root"} or unit.user not in {process.user, str(process.uids[0])}:
        yield f"the unit's User= is {unit.user!r}, its process is {process.user or process.uids[0]}'s"


@check("executable", "the running program and its libraries are the locked package's files")
def test_executable(state: HostState, expected: Expected, evidence: Evidence) -> None:
    process = running(state)
    evidence.update(
        executable=process.executable,
        sha256=process.executable_sha256,
        mapped_files=len(state.files),
    )
    expect_none([*program_problems(process, state, expected), *file_problems(state)])


def program_problems(process: ProcessState, state: HostState, expected: Expected) -> Iterator[str]:
    """Whether the program is the file that the server's package brought."""
    name, _, _ = expected.runtime_package
    owner = next((one for one in state.files if one.path == process.executable), None)
    if PurePosixPath(state.prefix) not in PurePosixPath(process.executable).parents:
        yield f"the service runs {process.executable}, outside of {state.prefix}"
    elif owner is None or not owner.package:
        yield f"no package of the environment recorded {process.executable}"
    elif owner.package != name:
        yield f"{process.executable} is of package {owner.package}, not {name}"
    elif process.executable_sha256 != owner.recorded_sha256:
        yield f"{process.executable} is not the file that {name} installed (SHA-256 differs)"
    elif [one.sha256 for one in state.packages if one.name == name] != [expected.packages[name].sha256]:
        yield f"{name} did not come from the locked archive"


def file_problems(state: HostState) -> Iterator[str]:
    """Files of the prefix that the process has mapped and that no package vouches for."""
    for one in state.files:
        if one.path.endswith(" (deleted)"):
            yield f"the service still uses {one.path}: it was replaced since"
        elif not one.package:
            yield f"the service uses {one.path}, which no package recorded"
        elif not one.sha256 or one.sha256 != one.recorded_sha256:
            yield f"{one.path} is not as {one.package} installed it (SHA-256 differs)"


@check("command-line", "the service runs with the planned arguments")
def test_command_line(state: HostState, expected: Expected, evidence: Evidence) -> None:
    process = running(state)
    evidence["arguments"] = list(process.arguments)
    found = [API_KEY_FILE_TOKEN if is_credential(word) else word for word in process.arguments[1:]]
    expect_none(argument_differences(expected.command[1:], found))


def is_credential(word: str) -> bool:
    """Whether an argument is the path under which systemd shows the key to this service alone."""
    return word.startswith(CREDENTIAL_FOLDER) and word.endswith("/api-key")


@check("hardening", "the unit is sealed off from the host")
def test_hardening(state: HostState, evidence: Evidence) -> None:
    exposure = state.exposure
    if not exposure.tool:
        skip(exposure.error)
    evidence["exposure"] = exposure.level
    if exposure.level is None:
        fail(exposure.error)
    if exposure.level > MOST_EXPOSURE:
        fail(f"systemd-analyze security gives {exposure.level}; at most {MOST_EXPOSURE} is accepted")


def running(state: HostState) -> ProcessState:
    """The service's process; the check fails without one."""
    if state.process is None:
        fail("the service has no main process")
    return state.process
