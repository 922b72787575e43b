"""Probes as they travel: one shell command, any Python from 3.9, no secret in what comes back."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from verifier_doubles import run_command

from localai_deploy.verifier.probes import api_key, bootstrap, conda, sockets, state
from localai_deploy.verifier.program import remote_command

PROBES = sorted(Path(bootstrap.__file__).parent.glob("*.py"))
KEY = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"


@pytest.mark.parametrize("path", PROBES, ids=lambda path: path.stem)
def test_probes_are_python_3_9_of_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            top = name.partition(".")[0]
            assert top in sys.stdlib_module_names or name.startswith(bootstrap.PACKAGE), name


def state_request(folder: Path, **other: Any) -> dict[str, Any]:
    return {
        "unit": "localai-no-such.service",
        "port": 9,
        "prefix": str(folder / "prefix"),
        "executable": "/bin/true",
        "store": str(folder / "models"),
        "deployment_file": str(folder / "deployment.json"),
        "api_key_file": str(folder / "api-key"),
        **other,
    }


def test_a_probe_runs_out_of_one_shell_command(tmp_path: Path) -> None:
    command = remote_command("state", state_request(tmp_path))
    assert len(command) < 32_000, "a command's argument may not be longer than 128 KiB anywhere"
    evidence = run_command(command)
    assert evidence["process"] is None
    assert evidence["key_file"] is None
    assert evidence["record"]["error"] == f"{tmp_path}/deployment.json is not there"
    assert evidence["version"]["returncode"] == 0


@pytest.mark.parametrize("text", ['it\'s "quoted"', "$(touch pwned) `touch pwned`", "per%cent %s", "ü\n\\n"])
def test_a_request_may_hold_any_text(tmp_path: Path, text: str) -> None:
    evidence = run_command(
        remote_command("state", state_request(tmp_path, deployment_file=f"{tmp_path}/{text}"))
    )
    assert evidence["record"]["error"] == f"{tmp_path}/{text} is not there"
    assert not Path("pwned").exists()


def test_what_runs_is_what_was_sent(tmp_path: Path) -> None:
    """Neither an installed package nor a file of the same name is taken in place of the sent text."""
    fake = tmp_path / "localai_deploy/verifier/probes"
    fake.mkdir(parents=True)
    (fake / "state.py").write_text("raise SystemExit('the wrong module')")
    command = f"cd {tmp_path} && PYTHONPATH={tmp_path} {remote_command('state', state_request(tmp_path))}"
    assert run_command(command)["process"] is None


def test_the_key_is_taken_out_of_everything(tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text(f"{KEY}\n")
    (tmp_path / "deployment.json").write_text(json.dumps({"note": f"x{KEY}y", KEY: [KEY]}))
    evidence = state.gather(state_request(tmp_path))
    assert KEY not in json.dumps(evidence)
    assert evidence["record"]["value"] == {"note": "x[redacted]y", "[redacted]": ["[redacted]"]}
    assert evidence["key_file"]["shortest_key"] == len(KEY)


def test_the_shortest_of_several_keys_counts(tmp_path: Path) -> None:
    file = tmp_path / "api-key"
    file.write_text(f"{KEY}\n\nshort\n")
    file.chmod(0o640)
    found = api_key.key_file(str(file))
    assert found == {
        "mode": "0640",
        "uid": os.getuid(),
        "gid": os.getgid(),
        "is_regular": True,
        "shortest_key": 5,
    }


def test_a_link_in_place_of_the_key_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(KEY)
    (tmp_path / "api-key").symlink_to(tmp_path / "elsewhere")
    found = api_key.key_file(str(tmp_path / "api-key"))
    assert found is not None
    assert found["is_regular"] is False


def test_secrets_given_as_arguments_are_not_shown() -> None:
    assert api_key.redact_arguments(["llama-server", "--api-key", "a-secret", "--port", "1"]) == [
        "llama-server",
        "--api-key",
        "[redacted]",
        "--port",
        "1",
    ]
    assert api_key.redact_arguments(["--api-key=a-secret", "--api-key-file", "/x"]) == [
        "--api-key=[redacted]",
        "--api-key-file",
        "/x",
    ]


def test_a_running_process_with_its_key_in_the_environment(tmp_path: Path) -> None:
    from localai_deploy.verifier.probes import process

    child = subprocess.Popen(["/bin/sleep", "60"], env={"LLAMA_API_KEY": KEY})
    try:
        while b"sleep" not in Path(f"/proc/{child.pid}/cmdline").read_bytes():
            time.sleep(0.001)
        found = process.read(child.pid, [KEY])
    finally:
        child.kill()
        child.wait()
    assert found is not None
    assert found["has_key"] is True
    assert found["environment_names"] == ["LLAMA_API_KEY"]
    assert found["arguments"] == ["/bin/sleep", "60"]
    assert found["executable_sha256"] == conda.file_sha256("/bin/sleep")
    assert KEY not in json.dumps(found)


TCP = """\
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   998        0 41001 1 0 100 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 41002 1 0 100 0
   2: 0100007F:1F90 0100007F:9C40 01 00000000:00000000 00:00000000 00000000   998        0 41003 1 0 20 4
"""
TCP6 = """\
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 41004 1
   1: B80D0120000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 41005 1
"""


@pytest.mark.skipif(sys.byteorder != "little", reason="the sample is a little-endian host's")
def test_listening_sockets_of_a_recorded_host() -> None:
    assert sockets.parse_table(TCP.splitlines()) == {
        "41001": ("127.0.0.1", 8080),
        "41002": ("0.0.0.0", 22),
    }
    assert sockets.parse_table(TCP6.splitlines()) == {
        "41004": ("::1", 8080),
        "41005": ("2001:db8::1", 8081),
    }


def test_own_listening_socket_is_found() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        found = sockets.listeners(one.getsockname()[1], os.getpid())
        ports = {entry["port"] for entry in found if entry["pid"] == os.getpid()}
        assert {one.getsockname()[1], other.getsockname()[1]} <= ports


def test_packages_and_owners_of_a_prefix(tmp_path: Path) -> None:
    meta = tmp_path / "conda-meta"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/server").write_text("server")
    meta.mkdir()
    paths = [{"_path": "bin/server", "sha256": "11", "sha256_in_prefix": "22"}]
    record = {
        "name": "llama.cpp",
        "version": "1",
        "build": "b",
        "sha256": "33",
        "paths_data": {"paths": paths},
    }
    (meta / "llama.cpp-1-b.json").write_text(json.dumps(record))
    (meta / "broken.json").write_text("{")
    (meta / "history").write_text("")
    records = conda.read_records(str(tmp_path))
    assert conda.packages(records) == [
        {"file": "broken.json", "name": "", "version": "", "build": "", "sha256": ""},
        {"file": "llama.cpp-1-b.json", "name": "llama.cpp", "version": "1", "build": "b", "sha256": "33"},
    ]
    mapped = [f"{tmp_path}/bin/server", f"{tmp_path}/bin/gone (deleted)", "/usr/lib/libc.so.6"]
    assert conda.owners(str(tmp_path), records, mapped) == [
        {
            "path": f"{tmp_path}/bin/server",
            "sha256": conda.file_sha256(f"{tmp_path}/bin/server"),
            "recorded_sha256": "22",
            "package": "llama.cpp",
        },
        {"path": f"{tmp_path}/bin/gone (deleted)", "sha256": "", "recorded_sha256": "", "package": ""},
    ]


def test_models_recorded_on_the_host(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_text("x")
    (tmp_path / "small.gguf.json").write_text('{"sha256": "44"}')
    (tmp_path / "other.gguf.json").write_text("[]")
    assert state.read_model_records(str(tmp_path)) == {"small.gguf": "44"}
