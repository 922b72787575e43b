#!/usr/bin/env python3
"""State of NVIDIA's driver on this host. Standard library only; changes nothing.

``look``       prints what the role decides by
``came``       prints the packages that apt would add for those given
``removable``  prints those of the given packages that nothing else on the host needs
``build``      prints why the modules are not built for the kernel, or not signed, exit 3; exit 0 if they are
``back``       prints what apt is asked for to have a former version, exit 3 if it is gone
``key``        exit 0 if the key in the given file has the given fingerprint, else 3
Refusals are JSON objects {error_id, what, why, hint}.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COMPONENTS = {
    "debian": ("contrib", "non-free", "non-free-firmware"),
    "ubuntu": ("restricted", "universe", "multiverse"),
}
ARCHIVES = Path("/var/cache/apt/archives")
APT = Path("/etc/apt")
OUR_SOURCE = Path("/etc/apt/sources.list.d/localai-driver.sources")
DRIVER = re.compile(
    r"(lib|linux-modules-|linux-objects-|firmware-)?nvidia-.*|libcuda1|libcudadebugger1|libnvcuvid1"
)
VERSION = re.compile(r"(?:\d+:)?(\d{2,3}(?:\.\d+){1,2})(?![\d.])")
CAUSES = (
    ("No space left on device", "the disk is full"),
    ("[Kk]illed signal|internal compiler error", "the memory did not suffice for the compiler"),
    (r"(?:gcc|cc)\S*: (?:command )?not found", "the compiler that the kernel was built with is missing"),
    ("[Kk]ernel (?:headers|source).*not|No rule to make target", "the kernel's headers are missing"),
    (
        "implicit declaration|has no member|incompatible pointer|too (?:few|many) arguments|redefinition of",
        "the kernel is newer than this driver: its interfaces have changed",
    ),
)
ERROR = re.compile(r"(?:^|: )(?:fatal )?error: |\*\*\* .*Error \d|: not found$", re.IGNORECASE)
"""What a compiler, a linker or make says; their own command lines, full of -Werror, are in the log too."""
ERROR_LINES = 4
ERROR_LENGTH = 300


class Refusal(Exception):  # noqa: N818
    """Something that ends the role; ``answer`` is what the caller reads."""

    def __init__(self, error_id: str, what: str, why: str, hint: str) -> None:
        super().__init__(what)
        self.answer = {"error_id": error_id, "what": what, "why": why, "hint": hint}


def look(kernel: str, wanted: list[str]) -> dict[str, Any]:
    """``missing``: packages still to come; ``version``: of the first wanted one; ``sources``: to be added."""
    there = packages()
    driver = {name: row for name, row in there.items() if DRIVER.fullmatch(name)}
    return {
        "system": f"{_release().get('ID', '')}{_release().get('VERSION_ID', '')}".replace(".", ""),
        "wsl": "microsoft" in _read(Path("/proc/version")).lower(),
        "missing": [name for name in (*wanted, *headers(kernel, wanted)) if name not in there],
        "headers": headers(kernel, wanted),
        "driver": sorted(driver),
        "unheld": sorted(name for name, (_, held) in driver.items() if not held),
        "version": _upstream(there, wanted),
        "loaded": _read(Path("/sys/module/nvidia/version")).strip(),
        "drivers": [_driver_of(card) for card in _cards()],
        "initramfs": Path("/usr/sbin/update-initramfs").exists(),
        "persistence": Path("/lib/systemd/system/nvidia-persistenced.service").exists(),
        "sources": _sources(),
    }


def packages() -> dict[str, tuple[str, bool]]:
    """Name → version and whether it is held, of all that are fully installed."""
    text = _output("dpkg-query", "-W", "-f", "${Package}\t${Version}\t${db:Status-Abbrev}\n")
    rows = (line.split("\t") for line in text.splitlines())
    return {name: (version, status[0] == "h") for name, version, status in rows if status[1] == "i"}


def headers(kernel: str, wanted: list[str]) -> list[str]:
    """Packages of the kernel's headers: its own, and those of its flavour for kernels to come."""
    if not wanted or wanted[0].startswith("linux-modules-"):
        return []
    flavour = re.sub(r"^\d[\d.]*(-\d+)?(\+\S+?)?-", "", kernel)
    names = [f"linux-headers-{kernel}", f"linux-headers-{flavour}"]
    if not Path(f"/lib/modules/{kernel}/build").exists():
        return names
    known = set(_output("apt-cache", "pkgnames", "linux-headers-").split())
    return [name for name in names if name in known]


def _upstream(there: dict[str, tuple[str, bool]], wanted: list[str]) -> str:
    """The driver's version; packages of signed modules are numbered as the kernel, others tell it."""
    for name in wanted:
        match = VERSION.match(there[name][0]) if name in there and "linux-modules" not in name else None
        if match:
            return match[1]
    return ""


def came(wanted: list[str]) -> list[str]:
    """Packages that apt would add for ``wanted``."""
    options = ("--simulate", "-o", "Debug::NoLocking=1", "--no-install-recommends")
    text = _output("apt-get", *options, "install", *wanted)
    return sorted({*re.findall(r"^Inst (\S+)", text, re.MULTILINE)} - packages().keys())


def removable(names: set[str]) -> set[str]:
    """The largest subset whose removal takes nothing else along."""
    wanted = names & packages().keys()
    while wanted and (others := _removed_with(wanted) - wanted):
        needed = {name for name in wanted if _removed_with({name}) & others}
        wanted -= needed or wanted
    return wanted


def _removed_with(names: set[str]) -> set[str]:
    text = _output("apt-get", "--simulate", "-o", "Debug::NoLocking=1", "purge", *sorted(names))
    return {match[1] for match in re.finditer(r"^(?:Purg|Remv) (\S+)", text, re.MULTILINE)}


def check_build(kernel: str, wanted: list[str]) -> None:
    """Raise Refusal unless DKMS installed the modules for the kernel; signed packages need no DKMS."""
    if wanted[0].startswith("linux-modules-"):
        return
    status = _output("dkms", "status") if Path("/usr/sbin/dkms").exists() else ""
    lines = [line for line in status.splitlines() if line.startswith("nvidia")]
    if any(
        kernel in line and line.rstrip().endswith(("installed", "installed (original_module exists)"))
        for line in lines
    ):
        return
    log = max(Path("/var/lib/dkms").glob("nvidia*/*/build/make.log"), key=_age, default=None)
    text = _read(log) if log else ""
    cause = next((cause for pattern, cause in CAUSES if re.search(pattern, text)), "")
    errors = [line.strip()[:ERROR_LENGTH] for line in text.splitlines() if ERROR.search(line)]
    shown = "\n".join(errors[:ERROR_LINES]) or status.strip() or "DKMS knows no module of NVIDIA's"
    raise Refusal(
        "driver-build-failed",
        f"the driver's modules are not built for Linux {kernel}",
        f"{cause}:\n{shown}" if cause else shown,
        f"see {log}; a newer branch of the driver or the distribution's own kernel may help"
        if log
        else f"dkms autoinstall -k {kernel} shows more",
    )


def check_signed(kernel: str) -> None:
    """Raise Refusal unless every module of NVIDIA's that DKMS installed for the kernel is signed."""
    modules = sorted(Path(f"/lib/modules/{kernel}/updates").rglob("nvidia*.ko*"))
    unsigned = [path.name for path in modules if not _output("modinfo", "-F", "signer", str(path)).strip()]
    if unsigned or not modules:
        raise Refusal(
            "driver-unsigned",
            f"DKMS did not sign the driver's modules for Linux {kernel}",
            f"without a signature: {', '.join(unsigned) or 'all'}; Secure Boot would refuse them",
            "have the enrolled key where DKMS looks for it (mok_signing_key in /etc/dkms/framework.conf)",
        )


def back(version: str, wanted: list[str]) -> list[str]:
    """What apt is asked for to bring the driver from the version that is there to ``version``.

    Of the package source ``NAME=VERSION``; what that has no more, the path of the archive that apt has kept.
    """
    there = packages()
    present = _upstream(there, wanted)
    names = sorted(name for name, (text, _) in there.items() if DRIVER.fullmatch(name) and _is(present, text))
    offered = _offered(names, version)
    found = {name: offered.get(name) or _kept(name, version) for name in names}
    if gone := [name for name, place in found.items() if not place]:
        raise Refusal(
            "driver-version-gone",
            f"version {version} of the driver is no longer to be had",
            f"neither the package source nor {ARCHIVES} has it of {', '.join(gone)}",
            "the driver stays as it is; NVIDIA's own source and snapshot.debian.org keep former versions",
        )
    return list(found.values())


def _offered(names: list[str], version: str) -> dict[str, str]:
    rows = (line.split("|") for line in _output("apt-cache", "madison", *names).splitlines())
    stripped = ([part.strip() for part in row] for row in rows)
    found = [(name, text) for name, text, _ in stripped if _is(version, text)]
    return {name: f"{name}={text}" for name, text in reversed(found)}


def _kept(name: str, version: str) -> str:
    found = (path for path in ARCHIVES.glob(f"{name}_*.deb") if _is(version, _version_of(path)))
    return str(max(found, key=_age, default=""))


def _version_of(archive: Path) -> str:
    return archive.name.split("_")[1].replace("%3a", ":")


def _is(version: str, text: str) -> bool:
    match = VERSION.match(text)
    return bool(match) and match[1] == version


def check_key(path: Path, fingerprint: str) -> None:
    """Raise Refusal unless the OpenPGP key in the file is the pinned one."""
    found = key_fingerprint(path.read_bytes())
    if found != fingerprint.replace(" ", "").upper():
        raise Refusal(
            "driver-key-wrong",
            f"the key of NVIDIA's package source is not the pinned one: {path}",
            f"its fingerprint is {found or 'unreadable'}, pinned is {fingerprint}",
            "trust it only when NVIDIA announces the new key; the file may be removed meanwhile",
        )


def key_fingerprint(data: bytes) -> str:
    """Of the first packet, a public key of version 4 (RFC 4880, 12.2); empty for anything else."""
    packet = _dearmored(data)
    if len(packet) < 6 or packet[0] & 0xFC != 0x98:
        return ""
    width = 1 << (packet[0] & 3)
    size = int.from_bytes(packet[1 : 1 + width], "big")
    body = packet[1 + width : 1 + width + size]
    if len(body) != size or body[:1] != b"\x04":
        return ""
    digest = hashlib.sha1(b"\x99" + size.to_bytes(2, "big") + body)  # noqa: S324 - what the format names
    return digest.hexdigest().upper()


def _dearmored(data: bytes) -> bytes:
    text = data.decode("ascii", "replace").replace("\r", "")
    match = re.search(
        r"-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:\S.*\n)*\n([A-Za-z0-9+/=\n]+?)\n?=?(?:\S{4})?\n-----END",
        text,
    )
    if match is None:
        return data
    try:
        return base64.b64decode(match[1])
    except binascii.Error:
        return b""


def _sources() -> str:
    """A deb822 source of the components that the distribution's own sources leave out; empty: none."""
    if OUR_SOURCE.exists():
        return _read(OUR_SOURCE)
    release = _release()
    wanted, name = COMPONENTS.get(release.get("ID", ""), ()), release.get("VERSION_CODENAME", "")
    places: dict[tuple[str, str, str], set[str]] = {}
    keys = signing_keys()
    for target in _targets():
        if target.get("Release") in {name, f"{name}-updates", f"{name}-security"}:
            uri, suite = target["Repo-URI"], target["Release"]
            place = (uri, suite, target.get("Signed-By") or keys.get((_plain(uri), suite), ""))
            places.setdefault(place, set()).add(target.get("Component", ""))
    return "\n".join(
        _stanza(*place, [one for one in wanted if one not in found])
        for place, found in sorted(places.items())
        if "main" in found and not found.issuperset(wanted)
    )


def signing_keys() -> dict[tuple[str, str], str]:
    """URI and suite → ``Signed-By`` of the source files; apt of Debian 12 does not tell it of its targets.

    Two sources of one place that differ in it are an error to apt, which then reads none at all.
    """
    found: dict[tuple[str, str], str] = {}
    for path in [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]:
        read = _stanzas if path.suffix == ".sources" else _lines
        found |= {(_plain(uri), suite): key for uri, suite, key in read(_read(path))}
    return found


def _stanzas(text: str) -> Iterator[tuple[str, str, str]]:
    for stanza in re.split(r"\n\s*\n", text):
        found = re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        fields = {name.lower(): value.rstrip() for name, value in found}
        for uri in fields.get("uris", "").split():
            for suite in fields.get("suites", "").split():
                yield uri, suite, fields.get("signed-by", "")


def _lines(text: str) -> Iterator[tuple[str, str, str]]:
    for options, uri, suite in re.findall(r"^deb\s+\[([^]]*)\]\s+(\S+)\s+(\S+)", text, re.MULTILINE):
        key = re.search(r"(?:^|\s)signed-by=(\S+)", options)
        yield uri, suite, key[1] if key else ""


def _plain(uri: str) -> str:
    return re.sub(r":/+", ":/", uri).rstrip("/")


def _release() -> dict[str, str]:
    return dict(re.findall(r'^(\w+)="?([^"\n]*)', _read(Path("/etc/os-release")), re.MULTILINE))


def _stanza(uri: str, suite: str, signed_by: str, components: list[str]) -> str:
    lines = ["Types: deb", f"URIs: {uri}", f"Suites: {suite}", f"Components: {' '.join(components)}"]
    return "".join(f"{line}\n" for line in [*lines, *([f"Signed-By: {signed_by}"] if signed_by else [])])


def _targets() -> Iterator[dict[str, str]]:
    for block in _output("apt-get", "indextargets", "Created-By: Packages").split("\n\n"):
        yield dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)


def _cards() -> Iterator[Path]:
    for device in sorted(Path("/sys/bus/pci/devices").glob("*")):
        is_display = _read(device / "class").startswith("0x03")
        if is_display and _read(device / "vendor").strip() == "0x10de":
            yield device


def _driver_of(device: Path) -> str:
    driver = device / "driver"
    return driver.resolve().name if driver.exists() else ""


def _age(path: Path) -> float:
    return path.stat().st_mtime


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _output(*argv: str) -> str:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    return subprocess.run(argv, check=True, capture_output=True, text=True, env=environment).stdout


def answer(given: argparse.Namespace) -> Any:  # noqa: ANN401 - JSON
    """Run one command; what it prints."""
    if given.command == "look":
        return look(given.kernel, given.names)
    if given.command == "came":
        return came(given.names)
    if given.command == "removable":
        return sorted(removable(set(given.names)))
    if given.command == "back":
        return back(given.version, given.names)
    if given.command == "build":
        check_build(given.kernel, given.names)
        if given.signed:
            check_signed(given.kernel)
    else:
        check_key(Path(given.names[0]), given.names[1])
    return {}


def main() -> int:
    """Print the answer; returns the exit code."""
    parser = argparse.ArgumentParser(description="State of NVIDIA's driver on this host.")
    parser.add_argument("command", choices=("look", "came", "removable", "build", "back", "key"))
    parser.add_argument("--kernel", default="")
    parser.add_argument("--version", default="")
    parser.add_argument("--signed", action="store_true")
    parser.add_argument("names", nargs="*")
    try:
        print(json.dumps(answer(parser.parse_intermixed_args())))
    except Refusal as refusal:
        print(json.dumps(refusal.answer))
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
