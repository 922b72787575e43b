"""A VM's memory and disk follow from what it is to serve; what somebody set stays."""

from __future__ import annotations

from localai_deploy.domain.fit.estimate import DeviceNeed
from localai_deploy.domain.lock import EnvironmentLock, LockedPackage
from localai_deploy.domain.pve.credentials import ApiToken, NodeConnection
from localai_deploy.domain.pve.sizing import VmSize, size_for
from localai_deploy.domain.pve.vm import VmSpec
from localai_deploy.domain.pve.wish import VmWish
from localai_deploy.domain.reference import ModelFile

GIB, MIB = 1 << 30, 1 << 20
PACKAGE = LockedPackage("llama.cpp", "1", "cuda129_0", "linux-64", "x.conda", "a" * 64, 3 * GIB)
LOCK = EnvironmentLock("cuda", "linux-64", "conda-forge", (PACKAGE,))
NEED = DeviceNeed("host", "host", 12 * GIB, 2 * GIB, 512 * MIB, 64 * MIB, 160 * MIB)
MODEL = ModelFile("hf:ORG/REPO/large.gguf", "large.gguf", size_bytes=40 * GIB)


def wish(**spec: int) -> VmWish:
    node = NodeConnection("pve1", "192.0.2.1", ApiToken("localai@pve", "localai", "s"))
    return VmWish(VmSpec("ai1", "pve1", **spec), node, given=frozenset(spec))


def test_memory_holds_parts_margin_system_and_kernel() -> None:
    """12 + 2 + 0.5 + 0.06 + 0.16 + 0.5 GiB and 5 %: 15.98 GiB."""
    assert size_for(NEED, LOCK, [MODEL]).memory_mib == 16 * 1024


def test_the_disk_holds_models_environment_and_system() -> None:
    """1.1 times 40 GiB and five times 3 GiB, and 3 GiB: 63.5 GiB."""
    assert size_for(NEED, LOCK, [MODEL]).disk_gib == 64


def test_an_unknown_need_asks_for_no_memory() -> None:
    assert size_for(None, LOCK, [MODEL]) == VmSize(0, 64)


def test_the_defaults_are_the_floor() -> None:
    assert wish().at_least(VmSize(2048, 9)) == wish()


def test_a_large_model_gets_a_larger_vm() -> None:
    found = wish().at_least(VmSize(16384, 58)).spec
    assert (found.memory_mib, found.disk_gib) == (16384, 58)


def test_what_somebody_set_stays() -> None:
    found = wish(memory_mib=4096).at_least(VmSize(16384, 58)).spec
    assert (found.memory_mib, found.disk_gib) == (4096, 58)
