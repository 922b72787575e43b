"""The seed's documents against the schemas that cloud-init itself ships, as Debian's suites have it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft4Validator

from localai_deploy.domain.pve.seed import Seed, StaticAddress
from localai_deploy.targets.seed_iso import seed_files
from tests.lab.debian_packages import find_packages, unpack
from tests.lab.layout import LabError
from tests.lab.mirror_debian import upstream_of

SCHEMAS = Path("usr/lib/python3/dist-packages/cloudinit/config/schemas")
KEYS = ("ssh-ed25519 AAAAC3Nz me@desk",)
MAC = "BC:24:11:00:00:01"
SEEDS = {
    "dhcp": Seed("uuid", "ai1", "admin", MAC, KEYS),
    "static": Seed("uuid", "ai1", "admin", MAC, KEYS, static=StaticAddress("192.0.2.7/24")),
    "static-routed": Seed(
        *("uuid", "ai1", "admin", MAC, KEYS),
        static=StaticAddress("192.0.2.7/24", "192.0.2.1", ("192.0.2.53", "2001:db8::53")),
    ),
    "static-6": Seed(
        "uuid", "ai1", "admin", MAC, KEYS, static=StaticAddress("2001:db8::7/64", "2001:db8::1")
    ),
    "mirror": Seed("uuid", "ai1", "admin", MAC, KEYS, apt_mirror="http://192.0.2.1/debian"),
}


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def schemas(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp(f"cloud-init-{request.param}")
    archive = upstream_of("debian")
    try:
        package = find_packages(archive, request.param, ["cloud-init"])
        unpack(archive, package["cloud-init"], directory)
    except LabError as error:
        pytest.skip(f"cloud-init of Debian {request.param} cannot be had: {error}")
    return directory / SCHEMAS


@pytest.fixture
def network_schema(schemas: Path) -> Path:
    schema = schemas / "schema-network-config-v2.json"
    if not schema.exists():
        pytest.skip("this cloud-init has no schema of network-config version 2")
    return schema


def complaints(schema: Path, document: object) -> list[str]:
    validator = Draft4Validator(json.loads(schema.read_text()))
    return [f"{one.json_path}: {one.message}" for one in validator.iter_errors(document)]


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_user_data(schemas: Path, seed: Seed) -> None:
    document = yaml.safe_load(seed_files(seed)["user-data"])
    assert complaints(schemas / "schema-cloud-config-v1.json", document) == []


@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
def test_network_config(network_schema: Path, seed: Seed) -> None:
    assert complaints(network_schema, yaml.safe_load(seed_files(seed)["network-config"])) == []


def test_the_network_schema_does_refuse(network_schema: Path) -> None:
    assert complaints(network_schema, {"version": 2, "ethernets": {"uplink": {"dhcp4": "maybe"}}})


@pytest.mark.parametrize(
    "wrong",
    [
        {"apt": {"primary": [{"uri": "http://x"}]}},
        {"users": [{"gecos": "without a name", "ssh_authorized_keys": "not a list", "shell": 7}]},
        {"packages": "qemu-guest-agent"},
    ],
)
def test_the_schema_does_refuse(schemas: Path, wrong: dict[str, Any]) -> None:
    assert complaints(schemas / "schema-cloud-config-v1.json", wrong)
