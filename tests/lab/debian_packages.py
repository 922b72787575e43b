"""Single packages of a Debian suite: found in its signed index, checked, unpacked without installing.

The chain is apt's own: InRelease is signed by a key of the archive keyring, it names the hash of the
package index, and that names the hash of every package. An index's age is not judged.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.layout import LabError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_INDEX = "main/binary-amd64/Packages.xz"
_TIMEOUT_S = 120
_SHA256_FIELD = re.compile(r"^SHA256:\n((?: .*\n?)+)", re.MULTILINE)
_PACKAGING_SUFFIX = re.compile(r"([+.]dfsg|[+.]ds).*|-[^-]*$")


@dataclass(frozen=True, slots=True)
class DebianPackage:
    """A package as the index names it; ``path`` is below the archive's URL."""

    name: str
    version: str
    path: str
    sha256: str
    size_bytes: int

    @property
    def upstream_version(self) -> str:
        """The version without epoch, repackaging suffix and Debian revision: ``1:0.7.0+dfsg-2`` is 0.7.0."""
        return _PACKAGING_SUFFIX.sub("", self.version.partition(":")[2] or self.version)


def find_packages(archive: str, suite: str, names: Iterable[str]) -> dict[str, DebianPackage]:
    """Look ``names`` up in ``suite`` of the archive at URL ``archive``; LabError when one is missing."""
    release = _verified_release(_get(f"{archive}/dists/{suite}/InRelease"), suite)
    digest = _index_sha256(release)
    index = _get_checked(f"{archive}/dists/{suite}/{Path(_INDEX).parent}/by-hash/SHA256/{digest}", digest)
    wanted = set(names)
    found = {package.name: package for package in _packages(index, wanted)}
    if missing := wanted - found.keys():
        raise LabError(f"Debian {suite} has no {', '.join(sorted(missing))}")
    return found


def unpack(archive: str, package: DebianPackage, directory: Path) -> None:
    """Fetch ``package``, check it against the index and unpack its files into ``directory``."""
    content = _get_checked(f"{archive}/{package.path}", package.sha256)
    deb = directory / Path(package.path).name
    directory.mkdir(parents=True, exist_ok=True)
    deb.write_bytes(content)
    subprocess.run(("dpkg-deb", "--extract", deb, directory), check=True)
    deb.unlink()


def _verified_release(signed: bytes, suite: str) -> str:
    """The text that a key of the keyring signed; LabError when none did or it is another suite's."""
    argv = ("gpgv", "--status-fd=2", f"--keyring={KEYRING}", "--output=-", "-")
    try:
        done = subprocess.run(argv, input=signed, capture_output=True, check=False)
    except FileNotFoundError:
        raise LabError("apt package missing for Debian's signatures: gpgv") from None
    status = done.stderr.decode(errors="replace")
    if "[GNUPG:] VALIDSIG " not in status or "[GNUPG:] BADSIG " in status:
        raise LabError(f"InRelease of Debian {suite} is not signed by a key of {KEYRING}: {status}")
    release = done.stdout.decode()
    if not re.search(rf"^(Suite|Codename): {re.escape(suite)}$", release, re.MULTILINE):
        raise LabError(f"the archive's answer for Debian {suite} is another suite's InRelease")
    return release


def _index_sha256(release: str) -> str:
    field = _SHA256_FIELD.search(release)
    for line in field[1].splitlines() if field else ():
        digest, _, name = line.split()
        if name == _INDEX:
            return digest
    raise LabError(f"InRelease names no SHA-256 of {_INDEX}")


def _packages(index: bytes, names: set[str]) -> Iterator[DebianPackage]:
    for stanza in lzma.decompress(index).decode().split("\n\n"):
        name = stanza.partition("\n")[0].removeprefix("Package: ")
        if name in names:
            yield _package(dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE)))


def _package(fields: Mapping[str, str]) -> DebianPackage:
    return DebianPackage(
        name=fields["Package"],
        version=fields["Version"],
        path=fields["Filename"],
        sha256=fields["SHA256"],
        size_bytes=int(fields["Size"]),
    )


def _get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as reply:
            content: bytes = reply.read()
    except OSError as error:
        raise LabError(f"{url}: {error}") from error
    return content


def _get_checked(url: str, sha256: str) -> bytes:
    content = _get(url)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise LabError(f"{url} has SHA-256 {found}, expected {sha256}")
    return content
