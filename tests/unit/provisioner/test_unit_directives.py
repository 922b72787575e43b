"""The oldest systemd understands every line of our units: one that it does not know protects nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from localai_deploy.domain.preflight import SUPPORTED_SYSTEMS

ROOT = Path(__file__).parents[3]
TEMPLATES = sorted((ROOT / "playbooks" / "roles").glob("*/templates/*.service.j2"))
SYSTEMD = {("debian", "12"): 252, ("debian", "13"): 257, ("ubuntu", "22.04"): 249, ("ubuntu", "24.04"): 255}
"""Version of each supported system."""
EVER = 183
"""What systemd's manual tells no version of is older than its records."""
SINCE = {
    **dict.fromkeys(("ExecStart", "Group", "RemainAfterExit", "Restart", "RestartSec", "Type"), EVER),
    **dict.fromkeys(("CapabilityBoundingSet", "Environment", "PrivateTmp", "UMask", "User"), EVER),
    **dict.fromkeys(("NoNewPrivileges", "SystemCallFilter"), 187),
    **dict.fromkeys(("After", "Description", "Requires", "StopWhenUnneeded", "WantedBy"), 201),
    **dict.fromkeys(("DeviceAllow", "DevicePolicy"), 208),
    **dict.fromkeys(("PrivateDevices", "SystemCallArchitectures", "SystemCallErrorNumber"), 209),
    **dict.fromkeys(("ProtectHome", "ProtectSystem"), 214),
    **dict.fromkeys(("MemoryDenyWriteExecute", "ReadOnlyPaths", "RestrictRealtime"), 231),
    **dict.fromkeys(("DynamicUser", "PrivateUsers", "ProtectControlGroups", "ProtectKernelModules"), 232),
    **dict.fromkeys(("ProtectKernelTunables", "RemoveIPC"), 232),
    **dict.fromkeys(("IPAddressAllow", "IPAddressDeny", "LockPersonality"), 235),
    **dict.fromkeys(("ProtectHostname", "RestrictSUIDSGID"), 242),
    **dict.fromkeys(("LoadCredential", "ProtectProc"), 247),
    "TimeoutStopSec": 188,
    "RestrictAddressFamilies": 211,
    "AssertFileNotEmpty": 218,
    "AmbientCapabilities": 229,
    "RestrictNamespaces": 233,
    "ProtectKernelLogs": 244,
    "ProtectClock": 245,
}
"""Directive → the version that brought it, by the manual pages of systemd 257 ("Added in version")."""
VALUES_SINCE = {
    "ProtectSystem=strict": 232,
    "SystemCallFilter=@system-service": 239,
    "SystemCallFilter=~@privileged @resources": 231,
    "Type=exec": 240,
}
"""Values that came later than their directive, by systemd's NEWS."""


def lines_of(path: Path) -> list[str]:
    return re.findall(r"^[A-Z][A-Za-z]+=.*$", path.read_text(), re.MULTILINE)


def test_every_supported_system_has_its_systemd() -> None:
    assert set(SYSTEMD) == {(name, one) for name, versions in SUPPORTED_SYSTEMS.items() for one in versions}
    assert len(TEMPLATES) == 2


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_the_oldest_systemd_knows_every_directive(path: Path) -> None:
    lines = lines_of(path)
    assert len(lines) > 5
    since = {line: max(SINCE[line.partition("=")[0]], VALUES_SINCE.get(line, 0)) for line in lines}
    assert {line: version for line, version in since.items() if version > min(SYSTEMD.values())} == {}


def test_no_value_is_told_of_that_no_unit_has() -> None:
    lines = {line for path in TEMPLATES for line in lines_of(path)}
    assert set(VALUES_SINCE) <= lines
    assert set(SINCE) == {line.partition("=")[0] for line in lines}
