"""What a host tells of WSL, Windows' settings for it included, as pure values out of one look.

File formats: https://learn.microsoft.com/windows/wsl/wsl-config.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.domain.observation_sections import decode_text, printable

NAT, MIRRORED = "nat", "mirrored"
_FIRST_KERNEL = re.compile(r"-Microsoft$")
"""WSL 1 calls itself ``4.4.0-19041-Microsoft``; WSL 2 has a real kernel, ``…-microsoft-standard-WSL2``."""
_ROOT = re.compile(r"\\\\wsl(?:\.localhost|\$)\\([^\\]+)")
_WINDOWS_DRIVE = re.compile(r"(\S+) (?:[A-Za-z]:|drvfs)\S*\s.*?\d+%\s+(\S.*)")
"""An asked path and ``df -Pk``'s line of a drive: its device is ``C:\\``, or ``drvfs…`` on virtiofs."""


@dataclass(frozen=True, slots=True)
class WindowsSettings:
    """Windows' own settings for WSL.

    :param path: of the user's ``.wslconfig`` as this host sees it; empty: there is none, or it is not seen.
    :param memory: as written (``8GB``); empty: half of Windows' memory.
    :param networking_mode: ``nat`` unless set.
    """

    path: str = ""
    memory: str = ""
    networking_mode: str = NAT
    localhost_forwarding: bool = True


@dataclass(frozen=True, slots=True)
class WslFacts:
    """All empty on a host that is no WSL.

    :param version: 1 or 2; 0: no WSL.
    :param distribution: the name that Windows knows it by; empty when it does not tell.
    :param systemd_wanted: ``/etc/wsl.conf`` switches systemd on.
    :param on_windows: directory of ours → the Windows drive's mount point that it lies on.
    """

    version: int = 0
    distribution: str = ""
    systemd_wanted: bool = False
    on_windows: Mapping[str, str] = field(default_factory=dict)
    windows: WindowsSettings = WindowsSettings()

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> WslFacts:
        """Out of decoded JSON; fields may be absent.

        :raises TypeError: a field is unknown.
        """
        values = dict(data)
        return cls(**values | {"windows": WindowsSettings(**values.get("windows", {}))})


def wsl_facts(sections: Mapping[str, str], kernel: str) -> WslFacts:
    """Out of the sections of ``targets/observe.sh``, on a host that is WSL."""
    root = _ROOT.match(sections.get("wsl_root", "").strip())
    return WslFacts(
        version=1 if _FIRST_KERNEL.search(kernel) else 2,
        distribution=printable(root[1]) if root else "",
        systemd_wanted=is_true(read_ini(sections.get("wsl_conf", "")).get(("boot", "systemd"), "")),
        on_windows=_on_windows(sections.get("wsl_places", "")),
        windows=_windows(sections.get("wsl_configs", "")),
    )


def is_true(text: str) -> bool:
    """Read a switch."""
    return text.lower() in {"true", "1"}


def read_ini(text: str) -> dict[tuple[str, str], str]:
    """(section, key), both in lower case → value, of ``wsl.conf`` and ``.wslconfig``."""
    found, section = {}, ""
    for line in text.removeprefix("\ufeff").splitlines():
        words = line.partition("#")[0].strip()
        if words.startswith("["):
            section = words.strip("[] ").lower()
        elif "=" in words:
            key, _, value = words.partition("=")
            found[section, key.strip().lower()] = printable(value.strip().strip("\"'"))
    return found


def _on_windows(text: str) -> dict[str, str]:
    matches = (_WINDOWS_DRIVE.fullmatch(line.strip()) for line in text.splitlines())
    return {match[1]: printable(match[2]) for match in matches if match}


def _windows(text: str) -> WindowsSettings:
    """Out of lines of base64, a path and what the file holds; of several users' files none can be chosen."""
    files = [line.split(" ") for line in text.splitlines() if line.count(" ") == 1]
    if len(files) != 1:
        return WindowsSettings()
    path, content = map(decode_text, files[0])
    values = read_ini(content)
    return WindowsSettings(
        path=printable(path),
        memory=values.get(("wsl2", "memory"), ""),
        networking_mode=values.get(("wsl2", "networkingmode"), NAT).lower(),
        localhost_forwarding=is_true(values.get(("wsl2", "localhostforwarding"), "true")),
    )
