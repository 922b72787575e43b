"""The lab itself: hosts that are real, come up in seconds and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.fixtures import unique_name
from tests.lab.host import find_host, known_names, start_host
from tests.lab.layout import REPOSITORY, Lab, LabError
from tests.lab.mirror import Mirror
from tests.lab.mirror_daemon import https_url, mirror_urls, running_pid
from tests.lab.mirror_faults import Fault
from tests.lab.mirror_files import mirror_content
from tests.lab.network import host_names, mirror_address
from tests.lab.state import difference

pytestmark = pytest.mark.host


def lab_cli(lab, *arguments):
    argv = [sys.executable, "-m", "tests.lab", "--lab", str(lab.directory), *arguments]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def own_lab(lab, tmp_path):
    """Another lab on this machine, which shares nothing with the first but what takes long to build."""
    other = Lab((tmp_path / "lab").resolve())
    other.directory.mkdir()
    for shared in (lab.images, lab.debian_cache):
        shared.mkdir(exist_ok=True)
        (other.directory / shared.name).symlink_to(shared)
    yield other
    lab_cli(other, "clean")


def traces(lab):
    """All that a lab with anything running shows in the kernel and in its folder."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(lab.directory) in line]
    groups = list(Path("/sys/fs/cgroup").glob(f"**/lab-{lab.token}-*"))
    links = subprocess.run(["ip", "-brief", "address"], capture_output=True, text=True, check=True).stdout
    marks = (f"l{lab.token}-", mirror_address(lab))
    interfaces = [line for line in links.splitlines() if any(mark in line for mark in marks)]
    processes = [pid for pid in all_pids() if str(lab.directory) in command_line(pid)]
    return [*mounts, *groups, *interfaces, *host_names(lab), *known_names(lab), *processes]


def all_pids():
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_host_is_a_real_machine(host):
    assert host.ssh("hostname").strip() == host.name
    assert host.ssh("cat /proc/1/comm").strip() == "systemd"
    assert host.ssh("systemctl is-system-running --wait", check=False).strip() == "running"
    assert host.ssh("sudo -n id -u").strip() == "0"
    assert host.root("id", "-u").strip() == "0"
    scanned = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(host.known_hosts)], capture_output=True, text=True, check=True
    )
    assert host.fingerprint in scanned.stdout


def test_apt_installs_from_the_mirror(host, mirror):
    host.ssh("sudo apt-get update -q && sudo apt-get install -qy --no-install-recommends hello")
    assert host.ssh("hello").strip() == "Hello, world!"
    assert mirror.requests(path="/pool/main/h/hello/", client=host.address)


def test_nothing_but_the_mirror_is_reached(host):
    done = host.ssh("getent hosts deb.debian.org || echo unknown")
    assert done.strip() == "unknown"


def test_https_of_the_mirror_is_trusted(host, lab):
    lab.files.mkdir(exist_ok=True)
    (lab.files / "probe.txt").write_text("checked")
    fetch = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
    for base in (https_url(lab), https_url(lab).replace(mirror_address(lab), "mirror.lab")):
        assert host.ssh(f"python3 -c '{fetch}' {base}/files/probe.txt").strip() == "checked"


def test_pip_on_a_host_uses_the_mirror(host, lab):
    wheels = lab.directory / "content" / "pypi"
    if not list(wheels.glob("*.whl")):
        pytest.skip("the lab's content is not built: python -m tests.lab prepare")
    host.ssh("sudo apt-get update -q && sudo apt-get install -qy --no-install-recommends python3-venv")
    index = f"--index-url {mirror_urls(lab)['pypi']}"
    host.ssh(f"python3 -m venv ~/venv && ~/venv/bin/pip --isolated download --no-deps {index} py-rattler")


def test_a_fault_for_one_host_harms_no_other_client(host, mirror):
    url = mirror.url("debian/dists/trixie/InRelease")
    probe = (
        "import sys, urllib.request as u, urllib.error as e\n"
        "try: print(u.urlopen(sys.argv[1]).status)\n"
        "except e.HTTPError as error: print(error.code)\n"
    )
    status = ["python3", "-c", probe, url]
    with mirror.fault(Fault("status", value=503, client=host.address)):
        assert host.root(*status).strip() == "503"
        own = subprocess.run([sys.executable, *status[1:]], capture_output=True, text=True, check=True)
        assert own.stdout.strip() == "200"
    assert host.root(*status).strip() == "200"


def test_a_host_has_no_control_over_the_mirror(host, mirror):
    probe = (
        "import sys, urllib.request as u, urllib.error as e\n"
        "try: u.urlopen(sys.argv[1])\n"
        "except e.HTTPError as error: print(error.code)\n"
    )
    assert host.root("python3", "-c", probe, mirror.url("-/requests")).strip() == "403"


def test_a_test_can_have_a_mirror_of_its_own(host, lab):
    with Mirror(mirror_content(lab)) as own:
        url = own.listen(host.network.gateway)
        probe = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).status)"
        assert host.root("python3", "-c", probe, f"{url}/pypi/simple/").strip() == "200"
        assert [entry["client"] for entry in own.client().requests()] == [host.address]


def test_snapshot_reset_and_state(fresh_host):
    host = fresh_host
    assert host.state() == {}
    host.root("sh", "-c", "echo one > /etc/one; rm /etc/debian_version; chmod 700 /opt")
    changed = host.state()
    assert {path: entry.kind for path, entry in changed.items()} == {
        "/etc/one": "file",
        "/etc/debian_version": "absent",
        "/opt": "directory",
    }
    host.snapshot("changed")
    host.root("rm", "-r", "/etc/one", "/usr/share/doc")
    assert difference(host.state(), changed)
    host.reset("changed")
    assert difference(host.state(), changed) == []
    host.reset()
    assert host.state() == {}
    with pytest.raises(LabError, match="no snapshot 'none'"):
        host.reset("none")


def test_a_host_keeps_its_services_over_a_restart(fresh_host):
    unit = "[Service]\\nExecStart=/usr/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n"
    fresh_host.root("sh", "-c", f"printf '{unit}' > /etc/systemd/system/probe.service")
    fresh_host.root("systemctl", "enable", "probe.service")
    booted_at = fresh_host.root("systemctl", "show", "--property=UserspaceTimestampMonotonic")
    fresh_host.restart()
    assert fresh_host.ssh("systemctl is-active probe.service").strip() == "active"
    assert fresh_host.root("systemctl", "show", "--property=UserspaceTimestampMonotonic") != booted_at


@pytest.mark.parametrize(
    ("sudo", "with_password", "without"), [("password", "0", "refused"), ("none", "refused", "refused")]
)
def test_other_kinds_of_sudo(lab, sudo, with_password, without):
    with start_host(lab, unique_name(), sudo=sudo) as host:
        password = host.sudo_password or "anything"
        assert (
            host.ssh(f"echo {password} | sudo -S id -u 2>/dev/null || echo refused").strip() == with_password
        )
        assert host.ssh("sudo -n id -u 2>/dev/null || echo refused").strip() == without


def test_hosts_side_by_side(lab):
    with start_host(lab, unique_name()) as one, start_host(lab, unique_name()) as two:
        assert one.address != two.address
        one.root("touch", "/etc/only-here")
        assert "/etc/only-here" not in two.state()
        one.root("systemctl", "stop", "dbus.service", "dbus.socket")
        assert two.ssh("systemctl is-active dbus").strip() == "active"


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "x;id", "-a", "a" * 32, "../x"])
def test_bad_names_are_refused(lab, name):
    with pytest.raises(LabError, match="is not a host name"):
        start_host(lab, name)


def test_a_taken_name_is_refused_and_its_host_unharmed(lab, host):
    with pytest.raises(LabError, match="is there already"):
        start_host(lab, host.name)
    assert host.ssh("true") == ""


def test_command_line_from_up_to_clean(own_lab):
    up = lab_cli(own_lab, "up", "box")
    assert up.returncode == 0, up.stderr
    described = json.loads(up.stdout)
    assert Path(described["private_key"]).stat().st_mode & 0o777 == 0o600
    assert find_host(own_lab, "box").ssh("id -un").strip() == described["user"]
    assert json.loads(lab_cli(own_lab, "up", "box").stdout) == described
    status = json.loads(lab_cli(own_lab, "status").stdout)
    assert status["hosts"] == [described]
    assert status["mirror"]["pid"] == running_pid(own_lab)
    assert lab_cli(own_lab, "down", "box").returncode == 0
    again = lab_cli(own_lab, "down", "box")
    assert (again.returncode, again.stderr) == (1, "lab: there is no host box\n")
    assert lab_cli(own_lab, "clean", "--all").returncode == 0
    assert traces(own_lab) == []
    assert not own_lab.directory.exists()


def test_clean_after_everything_was_killed(own_lab):
    lab_cli(own_lab, "up", "box")
    for pid in find_host(own_lab, "box").container.pids():
        if "systemd-nspawn" in command_line(pid):
            os.kill(pid, signal.SIGKILL)
    os.kill(running_pid(own_lab), signal.SIGKILL)
    assert lab_cli(own_lab, "clean").returncode == 0
    assert traces(own_lab) == []


@pytest.mark.parametrize("delay_s", [0.1, 0.25, 0.4, 0.55])
def test_clean_after_an_up_was_killed(own_lab, delay_s):
    lab_cli(own_lab, "status")
    argv = [sys.executable, "-m", "tests.lab", "--lab", str(own_lab.directory), "up", "box"]
    up = subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, start_new_session=True)
    time.sleep(delay_s)
    up.kill()
    up.communicate()
    assert lab_cli(own_lab, "clean").returncode == 0
    assert traces(own_lab) == []
