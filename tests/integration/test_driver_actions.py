"""``driver upgrade``, ``rollback`` and ``key`` by the command, with package sources of the shape of Debian's.

A container has neither a card nor a kernel of its own: what the kernel would tell of a card lies in file
systems mounted over its, and a loaded module's version follows the installed packages, as after a reboot.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from localai_deploy.cli.output import load_schema
from tests.integration.product import User, write_inventory
from tests.lab.mirror_daemon import mirror_urls
from tests.roles.deployment import REFERENCE
from tests.roles.driver_archive import KERNEL, Archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.content import Content
    from tests.lab.host import LabHost
    from tests.lab.mirror_client import MirrorClient

pytestmark = [pytest.mark.host, pytest.mark.slow]

OLD, NEW, OTHER_BRANCH = "550.163.01", "550.200.10", "590.44.01"
SOURCE = "deb [signed-by=/etc/apt/keyrings/test.gpg] file:/srv/archive trixie main\n"
NEEDED = ("ca-certificates", "python3-venv", "python3-apt", "mokutil", "openssl")
MOUNTED = ("/sys/bus/pci/devices", "/sys/module", "/proc/driver")
CARD = {
    "class": "0x030000",
    "vendor": "0x10de",
    "device": "0x2204",
    "subsystem_vendor": "0x10de",
    "subsystem_device": "0x1467",
}
FOLLOW = """\
#!/bin/sh
version=$(dpkg-query -W -f '${Version}' nvidia-kernel-dkms 2>/dev/null | cut -d - -f 1)
mkdir -p /sys/module/nvidia /proc/driver/nvidia
printf '%s\\n' "$version" >/sys/module/nvidia/version
told="NVRM version: NVIDIA UNIX x86_64 Kernel Module  $version  Tue Nov  4 12:00:00 UTC 2025"
printf '%s\\n' "$told" >/proc/driver/nvidia/version
[ -n "$version" ] || rm -r /sys/module/nvidia /proc/driver/nvidia
"""
UNAME = f'#!/bin/sh\n[ "$1" = -r ] && exec echo {KERNEL}\nexec /usr/bin/uname "$@"\n'


def offer(host: LabHost, archive: Archive, *versions: str) -> None:
    """Let the host's only package source have these versions as well."""
    for version in versions:
        archive.offer(version)
    host.root("mkdir", "-p", "/srv/archive", "/etc/apt/keyrings")
    for part in ("dists", "pool"):
        shutil.copytree(archive.directory / part, host.rootfs / "srv/archive" / part, dirs_exist_ok=True)
    shutil.copy(archive.directory / "key.gpg", host.rootfs / "etc/apt/keyrings/test.gpg")


def give_card(host: LabHost) -> None:
    """Let the host see a card, and a module whose version is the installed one's."""
    for name, text in {"local/sbin/follow": FOLLOW, "local/bin/uname": UNAME}.items():
        (host.rootfs / "usr" / name).write_text(text)
        host.root("chmod", "755", f"/usr/{name}")
    hook = 'DPkg::Post-Invoke {"/usr/local/sbin/follow";};\n'
    (host.rootfs / "etc/apt/apt.conf.d/99follow").write_text(hook)
    for path in MOUNTED:
        host.root("mount", "-t", "tmpfs", "none", path)
    device = f"{MOUNTED[0]}/0000:01:00.0"
    host.root("mkdir", device)
    for name, text in CARD.items():
        host.root("sh", "-c", f"echo {text} >{device}/{name}")


@pytest.fixture(scope="module")
def ask(
    host: LabHost, content: Content, mirror: MirrorClient, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Run a command on the host, whose driver is :data:`OLD`; its document."""
    del content, mirror
    archive = Archive.make(tmp_path_factory.mktemp("archive"))
    host.root("apt-get", "-qq", "update")
    host.root("apt-get", "-qq", "-y", "install", *NEEDED)
    host.root("sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/*")
    host.root("mkdir", "-p", "/etc/modprobe.d")
    offer(host, archive, OLD)
    (host.rootfs / "etc/apt/sources.list").write_text(SOURCE)
    host.root("apt-get", "-qq", "update")
    give_card(host)
    user = User(tmp_path_factory.mktemp("home"))
    box = {
        "ansible_host": host.address,
        "ansible_user": host.user,
        "ansible_ssh_private_key_file": str(host.private_key),
        "localai_host_key": host.fingerprint,
        "localai_models": [REFERENCE],
        "localai_mirrors": mirror_urls(host.lab),
    }
    inventory = write_inventory(user.home / "inventory", {"box": box})

    def asked(*words: str) -> Any:
        done = user.run(*words, "-i", str(inventory), "-o", "json")
        assert done.code == 0, done
        return done.data

    asked("up", "box", "--yes", "--tags", "driver")
    offer(host, archive, NEW, OTHER_BRANCH)
    return asked


def changed(told: Any) -> tuple[str, str, bool]:
    assert list(Draft202012Validator(load_schema("driver")).iter_errors(told)) == []
    return told["before"], told["after"], told["changed"]


def version(host: LabHost) -> str:
    return host.root("dpkg-query", "-W", "-f", "${Version} ${db:Status-Want}", "nvidia-kernel-dkms")


def test_upgrade_and_rollback(host: LabHost, ask: Callable[..., Any]) -> None:
    assert version(host) == f"{OLD}-2 hold"
    assert changed(ask("driver", "upgrade", "box", "--yes")) == (OLD, NEW, True)
    assert version(host) == f"{NEW}-2 hold"
    assert changed(ask("driver", "upgrade", "box", "--yes")) == (NEW, NEW, False)
    assert changed(ask("driver", "rollback", "box", "--yes")) == (NEW, OLD, True)
    assert version(host) == f"{OLD}-2 hold"
    assert changed(ask("driver", "rollback", "box", "--yes")) == (OLD, OLD, False)


def test_a_later_run_keeps_the_version_that_was_gone_back_to(host: LabHost, ask: Callable[..., Any]) -> None:
    (planned,) = ask("plan", "box", "--tags", "driver")["hosts"]
    assert {step["kind"]: step["action"] for step in planned["steps"]}["driver"] == "keep"
    assert version(host) == f"{OLD}-2 hold"


def test_key(host: LabHost, ask: Callable[..., Any]) -> None:
    told = ask("driver", "key", "box", "--yes")
    assert (told["changed"], told["left_to_do"]) == (True, "")
    assert host.root("stat", "-c", "%a", "/var/lib/dkms/mok.key") == "600\n"
    assert ask("driver", "key", "box", "--yes")["changed"] is False
