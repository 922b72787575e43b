"""Role ``nvidia_driver`` with Debian's real packages: the modules are really built, for a real kernel.

There is no card, and the kernel that runs is another; its headers are Debian's newest of the release.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from localai_deploy.domain.gpu.driver_sources import assumed_offers, packages_of
from tests.lab.fixtures import unique_name
from tests.lab.host import LabHost, start_host
from tests.roles.driver import Driver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.layout import Lab

pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.timeout(3 * 3600)]

RELEASES = {"trixie": "13", "bookworm": "12"}
BUILD_TIMEOUT_S = 3600
MODINFO = ("version", "vermagic", "signer", "sig_key")
KEY = "/var/lib/dkms/mok.pub"
REMOVED = "pci_enable_device"
"""Function of Linux that every driver of a PCI device calls; the broken headers do not declare it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A host of one release, and what the resolver would have the role install there."""

    host: LabHost
    driver: Driver
    kernel: str
    branch: int
    variables: dict[str, Any]

    def on_header(self, *edit: str) -> None:
        """Run ``sed`` on the header that declares :data:`REMOVED`."""
        common = re.sub(r"(-cloud)?-amd64$", "-common", self.kernel)
        self.host.root("sed", "-i", *edit, f"/usr/src/linux-headers-{common}/include/linux/pci.h")


@pytest.fixture(scope="module", params=RELEASES)
def place(
    lab: Lab, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    with start_host(lab, unique_name(), suite=request.param) as host:
        host.root("apt-get", "-qq", "update")
        kernel = newest_kernel(host)
        host.root("apt-get", "-qq", "-y", "install", "python3-apt", f"linux-headers-{kernel}")
        offer = assumed_offers("debian", RELEASES[request.param], ())[0]
        variables = {
            "nvidia_driver_packages": list(packages_of(offer, "debian")),
            "nvidia_driver_modules": offer.modules.value,
            "nvidia_driver_branch": offer.version.branch,
            "nvidia_driver_kernel": kernel,
            "nvidia_driver_secure_boot_key": True,
        }
        driver = Driver.prepare(host, tmp_path_factory.mktemp("ansible"), BUILD_TIMEOUT_S)
        yield Place(host, driver, kernel, offer.version.branch, variables)


def newest_kernel(host: LabHost) -> str:
    """``uname -r`` of the release's newest kernel, by the package that stands for its headers."""
    depends = host.root("apt-cache", "depends", "linux-headers-amd64")
    return re.findall(r"Depends: linux-headers-(\S+-amd64)$", depends, re.MULTILINE)[0]


def test_a_key_is_made_and_a_person_told_what_is_left(place: Place) -> None:
    made = place.driver.action("nvidia_driver", "key", {})
    assert f"sudo mokutil --import {KEY}" in made.output
    assert "Enroll MOK" in made.output
    assert place.host.root("stat", "-c", "%a", "/var/lib/dkms/mok.key") == "600\n"
    assert place.driver.action("nvidia_driver", "key", {}).changed == []


def test_a_build_that_fails_is_told_and_repaired(place: Place) -> None:
    place.on_header("-e", f"s/\\b{REMOVED}(/{REMOVED}_of_later_kernels(/")
    run = place.driver.converge(["nvidia_driver"], place.variables, good=False)
    problem = next(
        json.loads(one["stdout"]) for one in run.records if "driver-build-failed" in one.get("stdout", "")
    )
    assert f"not built for Linux {place.kernel}" in problem["what"]
    cause, first, *_ = problem["why"].splitlines()
    assert cause == "the kernel is newer than this driver: its interfaces have changed:"
    assert re.search(rf"nv-pci\.c:\d+:\d+: error: implicit declaration of function .{REMOVED}", first)
    place.on_header("-e", f"s/{REMOVED}_of_later_kernels(/{REMOVED}(/")
    place.driver.converge(["nvidia_driver"], place.variables)
    status = place.host.root("dkms", "status")
    assert re.search(rf"^nvidia\S*/{place.branch}\S*, {re.escape(place.kernel)}, x86_64: installed", status)


def test_modules_are_for_that_kernel_and_signed_with_the_hosts_key(place: Place) -> None:
    record = json.loads(place.host.root("cat", "/etc/localai-deploy/driver.json"))
    found = place.host.root("find", f"/lib/modules/{place.kernel}/updates", "-name", "nvidia*.ko*").split()
    assert len(found) == 5
    told = [{field: modinfo(place.host, path, field) for field in MODINFO} for path in found]
    assert {one["version"] for one in told} <= {record["version"], ""}
    assert {one["vermagic"].split()[0] for one in told} == {place.kernel}
    assert {one["signer"] for one in told} == {"DKMS module signing key"}
    serial = place.host.root("openssl", "x509", "-inform", "DER", "-in", KEY, "-noout", "-serial")
    assert {one["sig_key"].replace(":", "") for one in told} == {serial.strip().removeprefix("serial=")}


def modinfo(host: LabHost, path: str, field: str) -> str:
    return host.root("modinfo", "-F", field, path).strip()


def test_the_second_run_changes_nothing(place: Place) -> None:
    assert place.driver.converge(["nvidia_driver"], place.variables).changed == []
    assert place.driver.converge(["nvidia_driver"], place.variables, check=True).changed == []
    held = place.host.root("apt-mark", "showhold").split()
    assert {"nvidia-kernel-dkms", "libcuda1", "firmware-nvidia-gsp"} <= {*held}


def test_uninstall_takes_the_modules_along(place: Place) -> None:
    place.driver.uninstall(["nvidia_driver"], {})
    assert place.host.root("sh", "-c", "find /lib/modules -path '*/updates/*' -name 'nvidia*.ko*'") == ""
    assert place.driver.uninstall(["nvidia_driver"], {}).changed == []
