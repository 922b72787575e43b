"""The service's units per kind of GPU, as Ansible itself renders them.

``GOLDEN_UPDATE=1`` writes the expected files anew; the difference is then read in review.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROLE = HERE.parents[1] / "playbooks" / "roles" / "service"
DEVICES: dict[str, list[str]] = {
    "cpu": [],
    "nvidia": ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidia1"],
    "wsl": ["/dev/dxg"],
}
TEMPLATES = {"": "unit.service.j2", "-devices": "devices.service.j2"}


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """File name → text."""
    place = tmp_path_factory.mktemp("units")
    tasks = [
        {
            "ansible.builtin.template": {
                "src": str(ROLE / "templates" / template),
                "dest": f"{place}/{kind}{suffix}",
            },
            "vars": {"service_gpu_devices": devices, "service_command": ["/opt/server", "--port", "8080"]},
        }
        for kind, devices in DEVICES.items()
        for suffix, template in TEMPLATES.items()
    ]
    files = [str(ROLE / name / "main.yml") for name in ("defaults", "vars")]
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars_files": files,
        "tasks": tasks,
    }
    (place / "play.yml").write_text(json.dumps([play]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "play.yml"]
    environment = {**os.environ, "ANSIBLE_HOME": str(place), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    subprocess.run(command, cwd=place, env=environment, check=True, capture_output=True, timeout=120)
    names = [f"{kind}{suffix}" for kind in DEVICES for suffix in TEMPLATES]
    return {name: (place / name).read_text() for name in names}


@pytest.mark.parametrize("name", ["cpu", "nvidia", "nvidia-devices", "wsl"])
def test_unit(units: dict[str, str], name: str) -> None:
    path = HERE / "units" / f"{name}.service"
    if os.environ.get("GOLDEN_UPDATE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(units[name])
    assert path.read_text() == units[name], f"{path.name} differs; GOLDEN_UPDATE=1 writes it anew"


def settings(text: str) -> list[str]:
    return [line for line in text.splitlines() if "=" in line]


def test_what_a_card_opens_and_nothing_else(units: dict[str, str]) -> None:
    cpu, nvidia = settings(units["cpu"]), settings(units["nvidia"])
    assert [line for line in cpu if line not in nvidia] == [
        "PrivateDevices=yes",
        "PrivateUsers=yes",
        "MemoryDenyWriteExecute=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6",
    ]
    assert [line for line in nvidia if line not in cpu] == [
        "Requires=localai-llama-cpp-devices.service",
        "After=localai-llama-cpp-devices.service",
        "DeviceAllow=/dev/nvidiactl rw",
        "DeviceAllow=/dev/nvidia-uvm rw",
        "DeviceAllow=/dev/nvidia0 rw",
        "DeviceAllow=/dev/nvidia1 rw",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    ]
    assert "DevicePolicy=closed" in nvidia


def test_wsl_has_one_device_and_no_unit_that_makes_nodes(units: dict[str, str]) -> None:
    wsl = settings(units["wsl"])
    assert [line for line in wsl if "Device" in line] == ["DevicePolicy=closed", "DeviceAllow=/dev/dxg rw"]
    assert not [line for line in wsl if "-devices.service" in line]
