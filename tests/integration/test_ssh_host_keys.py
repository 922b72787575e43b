"""Which host keys are trusted, and that nothing is sent to a host whose key is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localai_deploy.targets import open_target
from localai_deploy.targets.host_keys import parse_known_hosts
from localai_deploy.targets.openssh import known_hosts_file
from localai_deploy.targets.ssh_host import SshHost
from tests.integration.ssh_server import (
    ADDRESS,
    SshServer,
    connection_to,
    fingerprint,
    logins,
    make_key,
    refusal,
    start_server,
)

pytestmark = pytest.mark.usefixtures("own_configuration")


def test_an_unknown_key_is_refused_with_its_fingerprint(server: SshServer) -> None:
    error = refusal(connection_to(server, host_key=""))
    assert error.error_id == "host-key-unknown"
    assert server.fingerprint in error.why
    assert f"--accept-host-key {server.fingerprint}" in error.hint
    assert f"localai_host_key: {server.fingerprint}" in error.hint
    assert not known_hosts_file().exists()


def test_nothing_is_sent_before_the_key_is_known(server: SshServer) -> None:
    refusal(connection_to(server, host_key=""))
    refusal(connection_to(server, host_key="SHA256:" + "A" * 43))
    log = server.log
    assert log.count("Connection closed by") >= 2
    for sign in ("authenticating user", "Accepted", "Failed", "Invalid user", "userauth"):
        assert sign not in log


def test_a_vouched_key_is_kept_and_then_known(server: SshServer, target: SshHost) -> None:
    target.connect().run(["true"])
    file = known_hosts_file()
    (key,) = parse_known_hosts(file.read_text())
    assert (key.host, key.fingerprint) == (f"[{ADDRESS}]:{server.port}", server.fingerprint)
    assert file.stat().st_mode & 0o777 == 0o600
    again = open_target("box", connection_to(server, host_key=""))
    assert again.connect().run(["true"]).returncode == 0
    again.close()


def test_a_known_key_needs_no_connection_of_its_own(server: SshServer, target: SshHost) -> None:
    target.connect().run(["true"])
    before = server.log.count("Connection from")
    again = open_target("box", connection_to(server, host_key=""))
    again.connect().run(["true"])
    again.close()
    assert server.log.count("Connection from") == before + 1


def test_another_key_than_the_vouched_one_is_refused(server: SshServer) -> None:
    other = "SHA256:" + "A" * 43
    error = refusal(connection_to(server, host_key=other))
    assert error.error_id == "host-key-mismatch"
    assert server.fingerprint in error.why
    assert other in error.why
    assert not known_hosts_file().exists()


def test_a_vouched_key_overrules_nothing_that_is_known(server: SshServer, target: SshHost) -> None:
    target.connect().run(["true"])
    error = refusal(connection_to(server, host_key="SHA256:" + "A" * 43))
    assert error.error_id == "host-key-mismatch"


def test_a_changed_key_is_refused_with_both_fingerprints(server: SshServer, target: SshHost) -> None:
    target.connect().run(["true"])
    target.close()
    before, logged_in = server.fingerprint, logins(server)
    server.change_host_key()
    error = refusal(connection_to(server, host_key=""))
    assert error.error_id == "host-key-changed"
    assert before in error.why
    assert server.fingerprint in error.why
    assert logins(server) == logged_in


def test_a_changed_key_that_is_vouched_for_replaces_the_old_one(server: SshServer, target: SshHost) -> None:
    target.connect().run(["true"])
    target.close()
    server.change_host_key()
    vouched = open_target("box", connection_to(server))
    vouched.connect().run(["true"])
    vouched.close()
    again = open_target("box", connection_to(server, host_key=""))
    assert again.connect().run(["true"]).returncode == 0
    again.close()
    assert len(parse_known_hosts(known_hosts_file().read_text())) == 1


def test_a_key_of_another_type_is_a_changed_key(server: SshServer, target: SshHost) -> None:
    target.connect().run(["true"])
    target.close()
    (server.directory / "host_ed25519").unlink()
    make_key(server.directory / "host_ed25519", "ecdsa")
    server.process.send_signal(1)
    time.sleep(0.5)
    assert refusal(connection_to(server, host_key="")).error_id == "host-key-changed"


def test_two_runs_accept_at_once(server: SshServer) -> None:
    program = (
        "import sys\n"
        "from localai_deploy.domain.connection import Connection\n"
        "from localai_deploy.targets.host_keys import require_known\n"
        "host, port, key, *args = sys.argv[1:]\n"
        "require_known(Connection('ssh', host, '', int(port), '', tuple(args), key))\n"
    )
    connection = connection_to(server)
    words = [ADDRESS, str(server.port), connection.host_key, *connection.ssh_args]
    runs = [subprocess.Popen([os.sys.executable, "-c", program, *words]) for _ in range(8)]  # type: ignore[attr-defined]
    assert [run.wait(timeout=60) for run in runs] == [0] * 8
    assert len(parse_known_hosts(known_hosts_file().read_text())) == 1


def trusted_by_the_user(server: SshServer, directory: Path) -> Path:
    """A known_hosts file that is not ours, with the key that the server has now."""
    known = directory / "known_hosts"
    public = (server.directory / "host_ed25519.pub").read_text()
    known.write_text(f"[{ADDRESS}]:{server.port} {public}{ADDRESS} {public}")
    return known


@pytest.fixture
def trap(server: SshServer, tmp_path: Path) -> list[str]:
    """Options, each of which would let ssh accept any key, or those that the user trusts."""
    known = trusted_by_the_user(server, tmp_path)
    return [
        "StrictHostKeyChecking no",
        f"UserKnownHostsFile {known}",
        f"GlobalKnownHostsFile {known}",
        f"KnownHostsCommand /bin/cat {known}",
        "NoHostAuthenticationForLocalhost yes",
        "VerifyHostKeyDNS yes",
        "UpdateHostKeys yes",
        "CheckHostIP no",
    ]


def test_the_users_configuration_makes_no_key_known(
    server: SshServer, trap: list[str], tmp_path: Path
) -> None:
    configuration = tmp_path / "ssh_config"
    configuration.write_text("Host *\n" + "".join(f"  {option}\n" for option in trap))
    error = refusal(connection_to(server, host_key="", ssh_args=("-F", str(configuration))))
    assert error.error_id == "host-key-unknown"
    assert "authenticating" not in server.log


def test_the_inventorys_options_make_no_key_known(server: SshServer, trap: list[str], tmp_path: Path) -> None:
    options = [word for option in trap for word in ("-o", option.replace(" ", "=", 1))]
    target = open_target("box", connection_to(server))
    target.connect().run(["true"])
    target.close()
    server.change_host_key()
    trusted_by_the_user(server, tmp_path)
    before = logins(server)
    connection = connection_to(server, host_key="", ssh_args=("-F", "none", *options))
    assert refusal(connection).error_id == "host-key-changed"
    assert logins(server) == before


def test_ansible_is_as_strict(server: SshServer, target: SshHost, trap: list[str], tmp_path: Path) -> None:
    target.connect().run(["true"])
    target.close()
    options = [word for option in trap for word in ("-o", option.replace(" ", "=", 1))]
    loose = open_target("box", connection_to(server, ssh_args=("-F", "none", *options)))
    variables = loose.inventory_variables(shared=False)
    assert "SUCCESS" in ansible(variables, tmp_path)
    server.change_host_key()
    trusted_by_the_user(server, tmp_path)
    assert "UNREACHABLE" in ansible(variables, tmp_path)


def ansible(variables: dict[str, object], directory: Path) -> str:
    """What Ansible says to a task that only logs in; each call is a login of its own."""
    inventory = directory / "inventory.json"
    inventory.write_text(json.dumps({"all": {"hosts": {"box": variables}}}))
    program = str(Path(sys.executable).with_name("ansible"))
    done = subprocess.run(
        [program, "-i", str(inventory), "box", "-m", "ansible.builtin.raw", "-a", "true"],
        capture_output=True,
        text=True,
        cwd=directory,
        env={**os.environ, "ANSIBLE_HOME": str(directory / "ansible"), "ANSIBLE_SSH_ARGS": "-C"},
        check=False,
    )
    return (done.stdout + done.stderr).replace("CHANGED", "SUCCESS")


@pytest.fixture
def certified(tmp_path: Path) -> Iterator[tuple[SshServer, Path]]:
    """A server whose host key an authority has signed, and the authority's public key."""
    authority = tmp_path / "authority"
    make_key(authority)
    server = start_server(
        tmp_path / "certified", more=f"HostCertificate {tmp_path}/certified/host_ed25519-cert.pub\n"
    )
    try:
        subprocess.run(
            [
                "ssh-keygen",
                "-q",
                "-s",
                authority,
                "-I",
                "box",
                "-h",
                "-n",
                ADDRESS,
                server.directory / "host_ed25519.pub",
            ],
            check=True,
        )
        server.reload()
        yield server, authority.with_suffix(".pub")
    finally:
        server.stop()


def test_a_certificate_is_known_by_the_key_in_it(certified: tuple[SshServer, Path]) -> None:
    server, _ = certified
    error = refusal(connection_to(server, host_key=""))
    assert error.error_id == "host-key-unknown"
    assert server.fingerprint in error.why
    target = open_target("box", connection_to(server))
    assert target.connect().run(["echo", "in"]).stdout == b"in\n"
    target.close()
    (key,) = parse_known_hosts(known_hosts_file().read_text())
    assert (key.key_type, key.fingerprint) == ("ssh-ed25519", server.fingerprint)


def test_an_authority_of_our_own_file_is_asked(certified: tuple[SshServer, Path]) -> None:
    server, authority = certified
    keep(f"@cert-authority [{ADDRESS}]:* {authority.read_text()}")
    target = open_target("box", connection_to(server, host_key=""))
    assert target.connect().run(["echo", "in"]).stdout == b"in\n"
    target.close()
    other = authority.with_name("other")
    make_key(other)
    keep(f"@cert-authority [{ADDRESS}]:* {other.with_suffix('.pub').read_text()}")
    error = refusal(connection_to(server, host_key=""))
    assert error.error_id == "host-key-changed"
    assert fingerprint(other.with_suffix(".pub")) in error.why


def test_a_revoked_key_is_refused(server: SshServer) -> None:
    public = (server.directory / "host_ed25519.pub").read_text()
    keep(f"@revoked * {public}[{ADDRESS}]:{server.port} {public}")
    error = refusal(connection_to(server, host_key=""))
    assert error.error_id == "host-key-changed"
    assert logins(server) == 0


@pytest.mark.parametrize("name", ["hashed", "with others", "pattern"])
def test_lines_that_were_written_by_hand_count(server: SshServer, name: str) -> None:
    public = (server.directory / "host_ed25519.pub").read_text()
    host = {"with others": f"elsewhere,[{ADDRESS}]:{server.port}", "pattern": "[127.0.*]:*"}
    keep(f"# mine\n{host.get(name, f'[{ADDRESS}]:{server.port}')} {public}")
    if name == "hashed":
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", known_hosts_file()], check=True, capture_output=True)
    target = open_target("box", connection_to(server, host_key=""))
    assert target.connect().run(["echo", "in"]).stdout == b"in\n"
    target.close()


def keep(text: str) -> None:
    known_hosts_file().parent.mkdir(parents=True, exist_ok=True)
    known_hosts_file().write_text(text)
