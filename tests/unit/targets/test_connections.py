"""What may be a host, how ssh's complaints are told, and what Ansible is given."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from localai_deploy.domain.connection import Connection
from localai_deploy.errors import LocalaiError
from localai_deploy.targets import open_target
from localai_deploy.targets.base import Target
from localai_deploy.targets.executor import Local, run_process
from localai_deploy.targets.host_keys import parse_known_hosts
from localai_deploy.targets.local_host import LocalHost
from localai_deploy.targets.openssh import OpenSsh
from localai_deploy.targets.proxmox_vm import ProxmoxVm
from localai_deploy.targets.ssh_failures import connection_error
from localai_deploy.targets.ssh_host import SshHost


@pytest.mark.parametrize(
    ("stderr", "error_id", "why"),
    [
        ("ssh: Could not resolve hostname bx: Name or service not known\r\n", "host-unknown", "bx"),
        ("ssh: connect to host box port 22: Connection refused\n", "host-unreachable", "refused"),
        ("ssh: connect to host box port 22: Connection timed out\n", "host-unreachable", "timed out"),
        ("ssh: connect to host box port 22: No route to host\n", "host-unreachable", "No route"),
        ("kex_exchange_identification: Connection closed by remote host\n", "host-unreachable", "closed"),
        ("Unable to negotiate with 1.2.3.4: no matching host key type\n", "host-unreachable", "negotiate"),
        ("lee@box: Permission denied (publickey).\n", "ssh-auth-failed", "Permission denied"),
        ("Received disconnect: Too many authentication failures\n", "ssh-auth-failed", "Too many"),
        ("/x: line 1: Bad configuration option: foo\n/x: terminating, 1 bad\n", "ssh-config-invalid", "Bad"),
        ("@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n", "host-key-changed", "CHANGED"),
        ("No ED25519 host key is known for x\nHost key verification failed.\n", "host-key-unknown", "failed"),
        (
            "Host key verification failed.\nkex_exchange_identification: Connection closed by remote host\n",
            "jump-host-key-unknown",
            "Host key",
        ),
        ("", "host-unreachable", "nothing"),
    ],
)
def test_what_ssh_says(stderr: str, error_id: str, why: str) -> None:
    error = connection_error(stderr, "lee@box")
    assert error.error_id == error_id
    assert why in error.why
    assert error.what == "no SSH connection to lee@box"
    assert error.hint
    assert error.exit_code == 3


def test_known_hosts_lines() -> None:
    text = (
        "# comment\n\n@revoked a ssh-ed25519 AAAA\nbox ssh-ed25519 AAAAC3 comment\nshort\n|1|x|y ssh-rsa !!\n"
    )
    first, second = parse_known_hosts(text)
    assert (first.host, first.key_type, first.key) == ("box", "ssh-ed25519", "AAAAC3")
    assert second.fingerprint == ""


def test_ansible_gets_the_same_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "50% of my config"))
    connection = Connection(
        kind="ssh",
        destination="box",
        user="lee",
        port=2222,
        private_key_file="/k",
        ssh_args=("-o", "ProxyJump=b"),
    )
    target = open_target("inventory-name", connection)
    try:
        variables = target.inventory_variables()
        words = shlex.split(variables.pop("ansible_ssh_common_args"))
        kept = shlex.split(target.inventory_variables(shared=False)["ansible_ssh_common_args"])
    finally:
        target.close()
    assert variables == {
        "ansible_host": "box",
        "ansible_user": "lee",
        "ansible_port": 2222,
        "ansible_ssh_private_key_file": "/k",
    }
    assert f'UserKnownHostsFile="{tmp_path}/50%% of my config/localai-deploy/known_hosts"' in words
    assert "StrictHostKeyChecking=yes" in words
    assert words[-2:] == ["-o", "ProxyJump=b"]
    assert any(word.startswith("ControlPath=") for word in words)
    assert not any(word.startswith("Control") for word in kept)


def test_the_socket_path_is_short_wherever_temporary_files_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/" + "long/" * 40)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "long/" * 40)
    ssh = OpenSsh(Connection(kind="ssh", destination="box"))
    (path,) = (word[12:] for word in ssh.sharing_options if word.startswith("ControlPath="))
    ssh.close()
    assert len(path) + 18 <= 107


def test_what_a_killed_run_left_is_removed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    short = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short))
    for name in ("lad-left", "other"):
        (short / name).mkdir(mode=0o700)
    in_use = OpenSsh(Connection(kind="ssh", destination="box"))
    assert in_use.sharing_options
    next_run = OpenSsh(Connection(kind="ssh", destination="box"))
    assert next_run.sharing_options
    next_run.close()
    left = sorted(path.name for path in short.iterdir())
    in_use.close()
    shutil.rmtree(short)
    assert len(left) == 2
    assert left[0].startswith("lad-")
    assert left[0] != "lad-left"
    assert left[1] == "other"


def test_this_machine_as_a_target() -> None:
    target = open_target("here", Connection(kind="local"))
    assert target.survey() is None
    assert target.inventory_variables()["ansible_connection"] == "local"
    assert target.connect().run(["cat"], stdin=b"\0x").stdout == b"\0x"
    assert target.observe().cpu_count >= 1
    with pytest.raises(LocalaiError) as caught:
        target.destroy()
    assert caught.value.error_id == "host-not-made"
    target.close()


def test_a_target_class_is_loaded_when_it_is_needed() -> None:
    program = "import sys, localai_deploy.targets; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "localai_deploy.targets" in done.stdout.split()
    assert "openssh" not in done.stdout


def test_a_process_that_does_not_end() -> None:
    with pytest.raises(LocalaiError) as caught:
        Local().run(["sleep", "20"], timeout_s=0.2)
    assert caught.value.error_id == "command-timeout"


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(LocalaiError) as caught:
        run_process(["ssh-no-such"], timeout_s=1, display="box")
    assert caught.value.error_id == "ssh-missing"


@pytest.mark.parametrize("kind", [SshHost, LocalHost, ProxmoxVm])
def test_all_targets_are_of_the_same_form(kind: type) -> None:
    wanted = {name for name in vars(Target) if not name.startswith("_")} - {"connection", "left_over"}
    assert wanted >= {"connect", "observe", "hold", "survey", "provision", "destroy", "close"}
    assert wanted <= set(dir(kind)), wanted - set(dir(kind))
