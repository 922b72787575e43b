"""What a look at WSL tells, the user's settings on the Windows side included."""

from __future__ import annotations

import base64

import pytest

from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.facts_parser import parse_facts
from localai_deploy.domain.observation_sections import encode_sections
from localai_deploy.domain.wsl.facts import WindowsSettings, WslFacts, read_ini

FIRST = "4.4.0-19041-Microsoft"
KERNEL = "6.6.87.2-microsoft-standard-WSL2"
VERSION = f"Linux version {KERNEL} (root@abc) (gcc (GCC) 11.2.0) #1 SMP\n"
WSL = {"kernel": f"{KERNEL}\n", "kernel_version": VERSION, "virtualization": "wsl\n"}


def look(**sections: str) -> HostFacts:
    return parse_facts(encode_sections({**WSL, **sections}))


def config(path: str, text: str) -> str:
    return " ".join(base64.b64encode(one.encode()).decode() for one in (path, text)) + "\n"


def test_another_host_tells_nothing_of_wsl() -> None:
    sections = {"kernel": "6.12.0-amd64\n", "kernel_version": "Linux version 6.12.0-amd64\n"}
    told = {"wsl_conf": "[boot]\nsystemd=true\n", "virtualization": "kvm\n"}
    assert parse_facts(encode_sections({**sections, **told})).wsl == WslFacts()


@pytest.mark.parametrize(
    ("sections", "version"),
    [
        (WSL, 2),
        (WSL | {"virtualization": ""}, 2),
        (WSL | {"virtualization": "microsoft\n"}, 2),
        (
            WSL
            | {"kernel": "4.4.0-19041-Microsoft\n", "kernel_version": "Linux version 4.4.0-19041-Microsoft"},
            1,
        ),
        ({"kernel": "6.9.1-mine\n", "kernel_version": "Linux", "dxg": "yes\n", "wsl_libraries": "yes\n"}, 2),
        ({"kernel": "6.9.1-mine\n", "kernel_version": "Linux", "dxg": "yes\n"}, 0),
        (WSL | {"virtualization": "docker\n"}, 0),
        (WSL | {"kernel_version": "Linux version 5.15.0-azure", "virtualization": "microsoft\n"}, 0),
    ],
    ids=[
        "wsl 2",
        "told by the kernel",
        "taken for a VM",
        "wsl 1",
        "own kernel, card",
        "dxg alone",
        "docker",
        "azure",
    ],
)
def test_recognised_by_kernel_and_card(sections: dict[str, str], version: int) -> None:
    assert parse_facts(encode_sections(sections)).wsl.version == version


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("\\\\wsl.localhost\\Ubuntu-24.04\\\n", "Ubuntu-24.04"),
        ("\\\\wsl$\\Debian\\\n", "Debian"),
        ("\\\\wsl.localhost\\My Box\x1b\\\n", "My Box\ufffd"),
        ("C:\\\n", ""),
        ("", ""),
    ],
)
def test_the_name_that_windows_knows(told: str, name: str) -> None:
    assert look(wsl_root=told).wsl.distribution == name


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[boot]\nsystemd=true\n", True),
        ("\ufeff[Boot]\r\n  Systemd = TRUE  # yes\r\n", True),
        ("[boot]\nsystemd=false\n", False),
        ("[boot]\n#systemd=true\n", False),
        ("[user]\nsystemd=true\n", False),
        ("systemd=true\n", False),
        ("", False),
    ],
)
def test_whether_systemd_is_wanted(text: str, wanted: bool) -> None:
    assert look(wsl_conf=text).wsl.systemd_wanted is wanted


def test_directories_on_a_windows_drive() -> None:
    text = (
        "/opt/localai-deploy /dev/sdd 1055762868 1234 1000 1% /\n"
        "/var/lib/localai-deploy/models C:\\ 498876416 300 188 62% /mnt/c\n"
    )
    assert look(wsl_places=text).wsl.on_windows == {"/var/lib/localai-deploy/models": "/mnt/c"}
    virtiofs = "/opt/localai-deploy drvfsaD0 1 2 3 62% /mnt/my data\n"
    assert look(wsl_places=virtiofs).wsl.on_windows == {"/opt/localai-deploy": "/mnt/my data"}


def test_settings_of_the_windows_user() -> None:
    path = "/mnt/c/Users/ann/.wslconfig"
    text = "# mine\r\n[wsl2]\r\nmemory=24GB\r\nnetworkingMode=Mirrored\r\nlocalhostForwarding=false\r\n"
    seen = look(wsl_configs=config(path, text)).wsl.windows
    assert seen == WindowsSettings(path, "24GB", "mirrored", localhost_forwarding=False)


def test_without_settings_or_with_several_users_nothing_is_taken_for_set() -> None:
    two = config("/mnt/c/Users/a/.wslconfig", "[wsl2]\nmemory=1GB\n") + config(
        "/mnt/c/Users/b/.wslconfig", ""
    )
    for text in ("", two, "junk\n", "a b c\n"):
        assert look(wsl_configs=text).wsl.windows == WindowsSettings()


def test_broken_settings_are_survived() -> None:
    assert read_ini("[wsl2\nmemory=\n=5\n[\n]\n==\n") == {
        ("wsl2", "memory"): "",
        ("wsl2", ""): "5",
        ("", ""): "=",
    }
    assert look(wsl_configs=config("/mnt/c/x", "\0[wsl2]\x1b")).wsl.windows.networking_mode == "nat"
