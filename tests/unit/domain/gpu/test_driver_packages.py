"""Package names and sources per system, written down by hand; what follows from them are golden cases."""

from __future__ import annotations

import pytest
import yaml

from localai_deploy.domain.gpu.driver_sources import assumed_offers, packages_of
from tests.roles.driver import ROLES

DEBIANS_LIBRARIES = "libcuda1 nvidia-smi nvidia-persistenced nvidia-modprobe firmware-nvidia-gsp"
VENDORS_DEBIAN = "nvidia-driver-cuda nvidia-modprobe"
VENDORS_UBUNTU = "libnvidia-compute nvidia-modprobe"
SERVER = "nvidia-utils-{0}-server nvidia-compute-utils-{0}-server nvidia-modprobe"
UBUNTU = [
    (source, f"{branch} {modules}", packages)
    for branch in (535, 570, 580)
    for source, modules, packages in (
        (
            "distribution",
            "proprietary",
            f"nvidia-dkms-{branch}-server nvidia-headless-{branch}-server {SERVER.format(branch)}",
        ),
        (
            "distribution",
            "open",
            f"nvidia-dkms-{branch}-server-open nvidia-headless-{branch}-server-open {SERVER.format(branch)}",
        ),
    )
] + [
    ("nvidia", "580 proprietary", f"nvidia-dkms {VENDORS_UBUNTU}"),
    ("nvidia", "580 open", f"nvidia-dkms-open {VENDORS_UBUNTU}"),
]
DEBIAN = [
    ("distribution", "proprietary", f"nvidia-kernel-dkms {DEBIANS_LIBRARIES}"),
    ("distribution", "open", f"nvidia-open-kernel-dkms {DEBIANS_LIBRARIES}"),
    ("nvidia", "proprietary", f"nvidia-kernel-dkms {VENDORS_DEBIAN}"),
    ("nvidia", "open", f"nvidia-kernel-open-dkms {VENDORS_DEBIAN}"),
]
BRANCH = {
    ("12", "distribution"): 535,
    ("13", "distribution"): 550,
    ("12", "nvidia"): 580,
    ("13", "nvidia"): 580,
}
SYSTEMS = {
    ("debian", "12"): [(source, f"{BRANCH['12', source]} {kind}", names) for source, kind, names in DEBIAN],
    ("debian", "13"): [(source, f"{BRANCH['13', source]} {kind}", names) for source, kind, names in DEBIAN],
    ("ubuntu", "22.04"): UBUNTU,
    ("ubuntu", "24.04"): UBUNTU,
}


@pytest.mark.parametrize(("system", "version"), SYSTEMS)
def test_what_apt_is_asked_for(system: str, version: str) -> None:
    found = [
        (offer.source.value, f"{offer.version.branch} {offer.modules}", " ".join(packages_of(offer, system)))
        for offer in assumed_offers(system, version, ())
    ]
    assert found == SYSTEMS[system, version]


def test_every_system_has_a_pinned_key_of_the_vendors_source() -> None:
    variables = yaml.safe_load((ROLES / "nvidia_driver" / "vars" / "main.yml").read_text())
    keys = variables["__nvidia_driver_keys"]
    assert keys.keys() == {f"{system}{version}".replace(".", "") for system, version in SYSTEMS}
    assert {len(key["fingerprint"]) for key in keys.values()} == {40}
    for key in keys.values():
        assert key["file"].removesuffix(".pub").upper() == key["fingerprint"][-8:]
