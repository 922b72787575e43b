"""Role ``nvidia_driver`` on a host without a card, with package sources of the real ones' shape."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.lab.state import difference
from tests.roles.driver import Driver, Run
from tests.roles.driver_archive import KERNEL, LIBRARIES, Archive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.lab.layout import Lab

pytestmark = pytest.mark.host

SOURCE = "deb [signed-by=/etc/apt/keyrings/test.gpg] file:/srv/archive trixie main\n"
DEBIAN = {
    "nvidia_driver_packages": ["nvidia-kernel-dkms", *LIBRARIES],
    "nvidia_driver_branch": 550,
    "nvidia_driver_kernel": KERNEL,
}
NVIDIA = {
    "nvidia_driver_packages": ["nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-modprobe"],
    "nvidia_driver_source": "nvidia",
    "nvidia_driver_modules": "open",
    "nvidia_driver_branch": 550,
    "nvidia_driver_kernel": KERNEL,
    "nvidia_driver_repository": "file:/srv/archive/pool/flat/",
    "nvidia_driver_key_url": "file:///srv/archive/pool/flat/key.asc",
}
FIRST_RUN = [
    "nvidia_driver: Make the record's directory",
    "nvidia_driver: Write down what is to come",
    "nvidia_driver: Write the package source",
    "nvidia_driver: Keep the driver in its branch",
    "nvidia_driver: Write down what comes along",
    "nvidia_driver: Install headers and driver",
    "nvidia_driver: Hold the driver's packages against upgrades",
    "nvidia_driver: Keep nouveau off the card",
    "nvidia_driver: Write down what was installed",
]


class Machine:
    """A host whose only package source is ours, and the role's runs on it."""

    def __init__(self, host: LabHost, driver: Driver, archive: Archive) -> None:
        self.host = host
        self.driver = driver
        self.archive = archive

    def run(self, variables: dict[str, Any], *, check: bool = False, good: bool = True) -> Run:
        return self.driver.converge(["nvidia_driver"], variables, check=check, good=good)

    def offer(self, version: str) -> None:
        self.archive.offer(version)
        self.offer_again()

    def offer_again(self) -> None:
        """Bring the host's sources in line with the archive."""
        self.host.root("mkdir", "-p", "/srv/archive", "/etc/apt/keyrings")
        target = self.host.rootfs / "srv" / "archive"
        for part in ("dists", "pool"):
            shutil.copytree(self.archive.directory / part, target / part, dirs_exist_ok=True)

    def withdraw(self, version: str) -> list[Path]:
        """Take a version out of the sources; where its packages lie now."""
        kept = self.archive.withdraw(version)
        shutil.rmtree(self.host.rootfs / "srv/archive/pool")
        self.offer_again()
        self.archive.offer(version)
        return kept

    def version(self, package: str) -> str:
        return self.host.root("dpkg-query", "-W", "-f", "${Version} ${db:Status-Want}", package)

    def record(self) -> dict[str, Any]:
        return dict(json.loads(self.host.root("cat", "/etc/localai-deploy/driver.json")))


@pytest.fixture(scope="module")
def place(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    archive = Archive.make(tmp_path_factory.mktemp("archive"))
    with start_host(lab, unique_name()) as host:
        machine = Machine(host, Driver.prepare(host, tmp_path_factory.mktemp("ansible")), archive)
        host.root("apt-get", "-qq", "update")
        host.root("apt-get", "-qq", "-y", "install", "python3-apt")
        host.root("sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*")
        host.root("mkdir", "-p", "/etc/modprobe.d")
        machine.offer("550.163.01")
        shutil.copy(archive.directory / "key.gpg", host.rootfs / "etc/apt/keyrings/test.gpg")
        (host.rootfs / "etc/apt/sources.list").write_text(SOURCE)
        host.root("apt-get", "-qq", "update")
        host.ssh("mkdir -p -m 700 .ansible")
        host.snapshot("driver")
        yield machine


@pytest.fixture
def machine(place: Machine) -> Iterator[Machine]:
    yield place
    place.host.reset("driver")


def test_driver_of_the_distribution(machine: Machine) -> None:
    clean = machine.host.state()
    foreseen = machine.run(DEBIAN, check=True)
    assert difference(clean, machine.host.state()) == []
    assert "apt would install nvidia-kernel-dkms" in foreseen.output
    assert machine.run(DEBIAN).changed == FIRST_RUN
    assert machine.run(DEBIAN).changed == []
    assert machine.run(DEBIAN, check=True).changed == []
    record = machine.record()
    assert (record["version"], record["previous"], record["branch"]) == ("550.163.01", "", 550)
    assert {"dkms", "nvidia-kernel-support", f"linux-headers-{KERNEL}"} <= {*record["came"]}
    assert machine.version("nvidia-kernel-support") == "550.163.01-2 hold"
    source = machine.host.root("cat", "/etc/apt/sources.list.d/localai-driver.sources")
    assert "URIs: file:/srv/archive" in source
    assert "Components: contrib non-free non-free-firmware\nSigned-By: /etc/apt/keyrings/test.gpg" in source
    assert "blacklist nouveau" in machine.host.root("cat", "/etc/modprobe.d/localai-driver.conf")
    assert machine.driver.uninstall(["nvidia_driver"], {}).changed != []
    left = [line for line in difference(clean, machine.host.state()) if "/var/lib/apt/lists" not in line]
    assert [line.partition(":")[0] for line in left] == ["/etc/localai-deploy"]
    assert machine.driver.uninstall(["nvidia_driver"], {}).changed == []


def test_upgrade_and_rollback_are_actions(machine: Machine) -> None:
    machine.run(DEBIAN)
    machine.offer("550.200.10")
    machine.offer("590.44.01")
    machine.host.root("apt-get", "-qq", "update")
    machine.host.root("apt-get", "-qq", "-y", "upgrade")
    assert machine.run(DEBIAN).changed == []
    assert machine.version("libcuda1") == "550.163.01-2 hold"
    machine.driver.action("nvidia_driver", "upgrade", DEBIAN)
    assert machine.version("nvidia-kernel-dkms") == "550.200.10-2 hold"
    assert (machine.record()["version"], machine.record()["previous"]) == ("550.200.10", "550.163.01")
    assert machine.driver.action("nvidia_driver", "upgrade", DEBIAN).changed == []
    assert machine.run(DEBIAN).changed == []
    machine.driver.action("nvidia_driver", "rollback", DEBIAN)
    assert machine.version("nvidia-kernel-dkms") == "550.163.01-2 hold"
    assert machine.version("libcuda1") == "550.163.01-2 hold"
    assert machine.record()["version"] == "550.163.01"
    assert machine.driver.action("nvidia_driver", "rollback", DEBIAN).changed == []
    assert machine.run(DEBIAN).changed == []


def test_rollback_to_a_version_that_the_source_has_no_more(machine: Machine) -> None:
    machine.run(DEBIAN)
    machine.offer("550.200.10")
    machine.driver.action("nvidia_driver", "upgrade", DEBIAN)
    kept = machine.withdraw("550.163.01")
    gone = machine.driver.action("nvidia_driver", "rollback", DEBIAN, good=False)
    assert gone.problem["error_id"] == "driver-version-gone"
    assert machine.version("libcuda1") == "550.200.10-2 hold"
    for archive in kept:
        shutil.copy(archive, machine.host.rootfs / "var/cache/apt/archives")
    machine.driver.action("nvidia_driver", "rollback", DEBIAN)
    assert machine.version("nvidia-kernel-dkms") == "550.163.01-2 hold"
    assert machine.version("libcuda1") == "550.163.01-2 hold"
    assert machine.driver.action("nvidia_driver", "rollback", DEBIAN).changed == []


def test_a_build_that_fails_is_told_with_its_cause(machine: Machine) -> None:
    machine.host.root("touch", "/run/broken")
    run = machine.run(DEBIAN, good=False)
    problem = next(
        json.loads(one["stdout"]) for one in run.records if "driver-build-failed" in one.get("stdout", "")
    )
    assert problem["error_id"] == "driver-build-failed"
    cause, first, last = problem["why"].splitlines()
    assert first == "nvidia/nv-mmap.c:422:7: error: implicit declaration of function 'vm_flags_set_old'"
    assert last.endswith("nv-mmap.o] Error 1")
    assert "the kernel is newer than this driver" in cause
    machine.host.root("rm", "/run/broken")
    machine.run(DEBIAN)
    assert machine.record()["version"] == "550.163.01"


def test_driver_of_the_vendor_by_its_pinned_key(machine: Machine) -> None:
    wrong = machine.run({**NVIDIA, "nvidia_driver_key_fingerprint": "A" * 40}, good=False)
    assert wrong.problem["error_id"] == "driver-key-wrong"
    assert machine.archive.fingerprint in wrong.problem["why"]
    wanted = {**NVIDIA, "nvidia_driver_key_fingerprint": machine.archive.fingerprint}
    machine.run(wanted)
    assert machine.version("nvidia-kernel-open-dkms") == "550.163.01-2 hold"
    assert machine.run(wanted).changed == []


def test_without_packages_nothing_is_done(machine: Machine) -> None:
    assert machine.run({}).changed == []
