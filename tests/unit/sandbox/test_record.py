"""The connection record: what it holds, who may read it, what is said when it is bad."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from pathlib import Path

import pytest

from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.errors import LocalaiError
from localai_deploy.sandbox_record import (
    DIRECTORY_VARIABLE,
    LOCK_NAME,
    SandboxRecord,
    make_private,
    read_record,
    record_path,
    remove_record,
    running_pid,
    runtime_directory,
    sandbox_connection,
    write_record,
)

CONNECTION = NodeConnection(
    node="sandbox",
    host="127.0.0.1:40123",
    token=ApiToken("root@pam", "sandbox", "3f1c-secret"),
    fingerprint="ab" * 32,
    guest_ssh_args=("-o", "ProxyCommand=relay %h %p"),
)
DATA = {
    "schema": 1,
    "node": "sandbox",
    "host": "127.0.0.1:40123",
    "user": "root@pam",
    "token_id": "sandbox",
    "token_secret": "3f1c-secret",
    "fingerprint": "ab" * 32,
    "guest_ssh_args": ["-o", "ProxyCommand=relay %h %p"],
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return make_private(tmp_path / "private")


def environment(directory: Path) -> dict[str, str]:
    return {DIRECTORY_VARIABLE: str(directory)}


def refusal(directory: Path) -> LocalaiError:
    with pytest.raises(LocalaiError) as caught:
        read_record(directory)
    return caught.value


def test_the_connection_as_data_both_ways() -> None:
    assert CONNECTION.to_data() == DATA
    assert NodeConnection.from_data(DATA) == CONNECTION
    assert NodeConnection.from_data({**DATA, "body": "bare", "pid": 1}) == CONNECTION


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"host": ""},
        {"token_secret": None},
        {"guest_ssh_args": "-o x"},
        {"guest_ssh_args": [1]},
        {"fingerprint": ""},
    ],
    ids=str,
)
def test_other_data_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(LocalaiError) as caught:
        NodeConnection.from_data(DATA | change)
    assert caught.value.error_id == "sandbox-record-unreadable"


def test_the_file(directory: Path) -> None:
    record = SandboxRecord(CONNECTION, "container", 4711, ("sandbox2",))
    write_record(directory, record)
    path = directory / "connection.json"
    assert json.loads(path.read_text()) == {**DATA, "body": "container", "pid": 4711, "further": ["sandbox2"]}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [one.name for one in directory.iterdir()] == ["connection.json"]
    assert read_record(directory) == record
    remove_record(directory)
    remove_record(directory)
    assert read_record(directory) is None


def test_a_wide_umask_changes_nothing(directory: Path) -> None:
    before = os.umask(0)
    try:
        write_record(directory, SandboxRecord(CONNECTION, "bare", 1))
    finally:
        os.umask(before)
    assert stat.S_IMODE(record_path(directory).stat().st_mode) == 0o600


def test_what_others_could_have_written_is_not_believed(directory: Path) -> None:
    write_record(directory, SandboxRecord(CONNECTION, "bare", 1))
    record_path(directory).chmod(0o644)
    assert refusal(directory).error_id == "sandbox-record-unreadable"
    record_path(directory).unlink()
    record_path(directory).symlink_to("/etc/hostname")
    assert refusal(directory).error_id == "sandbox-record-unreadable"


@pytest.mark.parametrize(
    "text", ["", "[]", "{", json.dumps(DATA), json.dumps(DATA | {"pid": "x", "body": ""})]
)
def test_damage_is_told_with_the_file(directory: Path, text: str) -> None:
    path = record_path(directory)
    path.write_text(text)
    path.chmod(0o600)
    error = refusal(directory)
    assert error.error_id == "sandbox-record-unreadable"
    assert str(path) in error.what
    assert "sandbox stop" in error.hint


def test_where_it_lies() -> None:
    assert runtime_directory({DIRECTORY_VARIABLE: "/a/b", "XDG_RUNTIME_DIR": "/x"}) == Path("/a/b")
    assert runtime_directory({"XDG_RUNTIME_DIR": "/x"}) == Path("/x/localai-deploy/sandbox")
    base = "/run" if os.geteuid() == 0 else f"/run/user/{os.geteuid()}"
    assert runtime_directory({}) == Path(base, "localai-deploy/sandbox")


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file"):
        with pytest.raises(LocalaiError) as caught:
            make_private(place)
        assert caught.value.error_id == "sandbox-directory-unusable"


def test_node_sandbox_is_the_one_that_runs(directory: Path) -> None:
    with pytest.raises(LocalaiError) as caught:
        sandbox_connection(environment(directory))
    assert caught.value.error_id == "sandbox-not-running"
    write_record(directory, SandboxRecord(CONNECTION, "bare", 4711))
    with pytest.raises(LocalaiError) as caught:
        sandbox_connection(environment(directory))
    assert caught.value.error_id == "sandbox-died"
    with (directory / LOCK_NAME).open("w") as file:
        file.write("4711")
        file.flush()
        assert running_pid(directory) is None
        fcntl.flock(file, fcntl.LOCK_EX)
        assert running_pid(directory) == 4711
        assert sandbox_connection(environment(directory)) == CONNECTION
