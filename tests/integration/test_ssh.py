"""Connections over the system's OpenSSH to real servers on loopback."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localai_deploy.domain.connection import Connection
from localai_deploy.errors import LocalaiError
from localai_deploy.targets import open_target
from localai_deploy.targets.host_keys import parse_known_hosts
from localai_deploy.targets.openssh import known_hosts_file
from localai_deploy.targets.ssh_host import SshHost
from tests.integration.ssh_server import (
    ADDRESS,
    SshServer,
    connection_to,
    free_port,
    logins,
    make_key,
    refusal,
    start_server,
)

pytestmark = pytest.mark.usefixtures("own_configuration")
looks_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the look at a host is taken as root")


def common_args(target: SshHost) -> str:
    return str(target.inventory_variables()["ansible_ssh_common_args"])


def test_a_command_runs_with_its_bytes_untouched(target: SshHost) -> None:
    everything = bytes(range(256)) * 300
    done = target.connect().run(["sh", "-c", "cat; echo oops >&2; exit 3"], stdin=everything)
    assert (done.returncode, done.stdout, done.stderr) == (3, everything, b"oops\n")


@pytest.mark.parametrize(
    "word",
    [
        "",
        " ",
        "a b",
        "it's",
        '"$HOME"',
        "`id`",
        "$(id)",
        "; id",
        "a\nb",
        "*",
        "~",
        "-n",
        "\\",
        "ü",
        "!!",
        "#",
    ],
)
def test_words_arrive_as_they_are(target: SshHost, word: str) -> None:
    done = target.connect().run(["printf", "%s|", "x", word])
    assert done.stdout == f"x|{word}|".encode()


def test_a_command_may_end_like_ssh_itself(target: SshHost) -> None:
    done = target.connect().run(["sh", "-c", "echo Permission denied >&2; exit 255"])
    assert (done.returncode, done.stderr) == (255, b"Permission denied\n")


@looks_as_root
def test_one_login_serves_all_commands(server: SshServer, target: SshHost) -> None:
    for _ in range(5):
        target.connect().run(["true"])
    with target.hold():
        target.observe()
    assert logins(server) == 1


def test_close_ends_the_connection_and_leaves_no_file(server: SshServer) -> None:
    target = open_target("box", connection_to(server))
    assert isinstance(target, SshHost)
    target.connect().run(["true"])
    (control_path,) = (
        word[12:] for word in shlex.split(common_args(target)) if word.startswith("ControlPath=")
    )
    directory = Path(control_path).parent
    assert directory.stat().st_mode & 0o777 == 0o700
    assert list(directory.iterdir())
    target.close()
    assert not directory.exists()
    started = time.monotonic()
    while "Disconnected from user" not in server.log and "Connection closed" not in server.log:
        assert time.monotonic() - started < 5, server.log
        time.sleep(0.05)


@looks_as_root
def test_facts_are_those_of_this_machine(target: SshHost) -> None:
    facts = target.observe()
    assert facts.hostname == os.uname().nodename
    assert facts.architecture == os.uname().machine
    assert facts.cpu_count == os.cpu_count()
    assert facts.is_root == (os.geteuid() == 0)
    assert facts.libc_version == os.confstr("CS_GNU_LIBC_VERSION").split()[1]  # type: ignore[union-attr]
    ours = {"/opt/localai-deploy", "/var/lib/localai-deploy"}
    assert facts.free_bytes.keys() == {*ours, "/etc", "/tmp", "/usr", "/var"}


@looks_as_root
def test_the_servers_own_socket_is_among_the_listening(server: SshServer, target: SshHost) -> None:
    listener = target.observe().listener(server.port)
    assert listener is not None
    assert (listener.address, listener.process) == (ADDRESS, "sshd")


def test_noise_of_login_scripts_changes_nothing(server: SshServer) -> None:
    banner = server.directory / "banner"
    banner.write_text("WARNING: Permission denied to strangers\nREMOTE HOST IDENTIFICATION HAS CHANGED\n")
    noisy = start_server(
        server.directory / "noisy", more=f"Banner {banner}\nPrintMotd yes\n", client_key=server.client_key
    )
    target = open_target("box", connection_to(noisy, private_key_file=str(server.client_key)))
    try:
        done = target.connect().run(["echo", "ok"])
        assert (done.stdout, done.stderr) == (b"ok\n", b"")
    finally:
        target.close()
        noisy.stop()


def test_a_wrong_key_is_an_authentication_failure(server: SshServer, tmp_path: Path) -> None:
    make_key(tmp_path / "stranger")
    error = refusal(connection_to(server, private_key_file=str(tmp_path / "stranger")))
    assert error.error_id == "ssh-auth-failed"
    assert "Permission denied" in error.why
    assert error.exit_code == 3


def test_a_missing_key_file_is_an_authentication_failure(server: SshServer, tmp_path: Path) -> None:
    error = refusal(connection_to(server, private_key_file=str(tmp_path / "nowhere")))
    assert error.error_id == "ssh-auth-failed"


def test_a_refused_port_is_unreachable(server: SshServer) -> None:
    error = refusal(connection_to(server, port=free_port()))
    assert error.error_id == "host-unreachable"
    assert "refused" in error.why


def test_a_name_that_does_not_resolve_is_unknown(server: SshServer) -> None:
    error = refusal(connection_to(server, destination="no-such-host.invalid"))
    assert error.error_id == "host-unknown"
    assert "no-such-host.invalid" in error.what


def test_something_else_than_ssh_is_unreachable(server: SshServer) -> None:
    import http.server
    import threading

    web = http.server.ThreadingHTTPServer((ADDRESS, 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        error = refusal(connection_to(server, port=web.server_address[1]))
    finally:
        web.shutdown()
    assert error.error_id == "host-unreachable"


def test_a_connection_that_breaks_is_told_and_made_anew(server: SshServer, target: SshHost) -> None:
    executor = target.connect()
    executor.run(["true"])
    with pytest.raises(LocalaiError) as caught:
        executor.run(["sh", "-c", "kill -9 $PPID; sleep 20"], timeout_s=20)
    assert caught.value.error_id == "host-unreachable"
    assert executor.run(["echo", "again"]).stdout == b"again\n"
    assert logins(server) == 2


def test_a_command_that_hangs_is_told(target: SshHost) -> None:
    started = time.monotonic()
    with pytest.raises(LocalaiError) as caught:
        target.connect().run(["sleep", "60"], timeout_s=1)
    assert caught.value.error_id == "command-timeout"
    assert time.monotonic() - started < 10


def test_without_an_ssh_client(server: SshServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    connection = connection_to(server)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(connection).error_id == "ssh-missing"


@pytest.fixture
def bastion(tmp_path: Path) -> Iterator[SshServer]:
    bastion = start_server(tmp_path / "bastion")
    yield bastion
    bastion.stop()


@pytest.fixture
def aliases(tmp_path: Path, server: SshServer, bastion: SshServer) -> Path:
    """A user's SSH configuration: ``inner`` lies behind ``bastion``; its options are a trap for scripts."""
    known = tmp_path / "bastion_known"
    known.write_text(f"[{ADDRESS}]:{bastion.port} {(bastion.directory / 'host_ed25519.pub').read_text()}")
    path = tmp_path / "ssh_config"
    path.write_text(f"""\
Host bastion
  HostName {ADDRESS}
  Port {bastion.port}
  IdentityFile {bastion.client_key}
  UserKnownHostsFile {known}
Host inner
  HostName {ADDRESS}
  Port {server.port}
  IdentityFile {server.client_key}
  HostKeyAlias inner-machine
  ProxyJump bastion
  RequestTTY force
  RemoteCommand echo not this one
  LocalForward {free_port()} {ADDRESS}:{server.port}
  ControlMaster auto
  ControlPath {tmp_path}/user-%C
  ForwardX11 yes
  VisualHostKey yes
Host *
  User {getpass.getuser()}
  IdentitiesOnly yes
""")
    return path


def test_the_users_configuration_works_through_a_jump_host(
    server: SshServer, bastion: SshServer, aliases: Path
) -> None:
    connection = Connection(
        kind="ssh", destination="inner", ssh_args=("-F", str(aliases)), host_key=server.fingerprint
    )
    target = open_target("box", connection)
    try:
        done = target.connect().run(["sh", "-c", "echo $SSH_CONNECTION; cat"], stdin=b"in")
        assert done.returncode == 0
        assert done.stdout.split() == [*done.stdout.split()[:3], str(server.port).encode(), b"in"]
        assert done.stderr == b""
    finally:
        target.close()
    assert logins(bastion) >= 1
    assert logins(server) == 1
    (key,) = parse_known_hosts(known_hosts_file().read_text())
    assert key.host == "inner-machine"
    assert key.fingerprint == server.fingerprint


def test_an_unknown_key_behind_a_jump_host(server: SshServer, bastion: SshServer, aliases: Path) -> None:
    error = refusal(Connection(kind="ssh", destination="inner", ssh_args=("-F", str(aliases))))
    assert error.error_id == "host-key-unknown"
    assert server.fingerprint in error.why


def test_an_unknown_key_of_the_jump_host_is_told_as_such(
    server: SshServer, bastion: SshServer, aliases: Path, tmp_path: Path
) -> None:
    (tmp_path / "bastion_known").write_text("")
    started = time.monotonic()
    error = refusal(Connection(kind="ssh", destination="inner", ssh_args=("-F", str(aliases))))
    assert error.error_id == "jump-host-key-unknown"
    assert time.monotonic() - started < 10, "it waited for an answer on a terminal"


@contextmanager
def agent(directory: Path, key: Path) -> Iterator[str]:
    """An agent with one key; its socket."""
    socket = directory / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.01)
        subprocess.run(
            ["ssh-add", "-q", str(key)], env={**os.environ, "SSH_AUTH_SOCK": str(socket)}, check=True
        )
        yield str(socket)
    finally:
        process.terminate()
        process.wait()


def test_a_key_in_an_agent(server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without = connection_to(server, private_key_file="", ssh_args=("-F", "none"))
    with agent(tmp_path, server.client_key) as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        target = open_target("box", without)
        done = target.connect().run(["sh", "-c", "echo agent=$SSH_AUTH_SOCK"])
        target.close()
    assert done.stdout == b"agent=\n", "it is not forwarded"
