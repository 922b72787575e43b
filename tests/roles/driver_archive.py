"""A package source of the same shape as Debian's and NVIDIA's, with stand-ins for the driver's packages.

Signed with a key of its own. The stand-in of the modules "builds" as DKMS does: it writes DKMS' state, or
with ``/run/broken`` a log with a compiler's error, and fails.
"""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KERNEL = "6.12.95+deb13-amd64"
DKMS = "#!/bin/sh\ncat /var/lib/dkms/status 2>/dev/null\nexit 0\n"
BUILD = """\
#!/bin/sh
set -e
version=$(dpkg-query -W -f '${Version}' PACKAGE | cut -d - -f 1)
mkdir -p /var/lib/dkms/nvidia-current/$version/build
if [ -e /run/broken ]; then
  cat >/var/lib/dkms/nvidia-current/$version/build/make.log <<'EOF'
DKMS make.log for nvidia-current for kernel KERNEL (x86_64)
  gcc-14 -Werror=implicit-int -Wno-error -Werror=implicit-function-declaration -c nvidia/nv-mmap.c
  CC [M]  nvidia/nv-mmap.o
nvidia/nv-mmap.c:422:7: error: implicit declaration of function 'vm_flags_set_old'
make[2]: *** [scripts/Makefile.build:229: nvidia/nv-mmap.o] Error 1
EOF
  exit 10
fi
rm -rf /var/lib/dkms/nvidia-current/$version/build
echo "nvidia-current/$version, KERNEL, x86_64: installed" >/var/lib/dkms/status
"""
REMOVE = "#!/bin/sh\nset -e\nrm -rf /var/lib/dkms\n"
LIBRARIES = ("libcuda1", "nvidia-smi", "nvidia-persistenced", "nvidia-modprobe", "firmware-nvidia-gsp")
HEADERS = (f"linux-headers-{KERNEL}", "linux-headers-amd64")
MODULES = {"debian": "nvidia-kernel-dkms", "nvidia": "nvidia-kernel-open-dkms"}


@dataclass(frozen=True, slots=True)
class Archive:
    """Package sources below ``directory``: ``debian`` with its components, ``nvidia`` flat."""

    directory: Path

    @classmethod
    def make(cls, directory: Path) -> Archive:
        """New sources with nothing in them but their key."""
        archive = cls(directory)
        (directory / "gnupg").mkdir(mode=0o700, parents=True)
        archive._gpg(
            "--batch", "--passphrase", "", "--quick-generate-key", "Archive <a@example.org>", "rsa2048"
        )
        for name, armor in (("key.gpg", ()), ("key.asc", ("--armor",))):
            exported = archive._gpg(*armor, "--export")
            (directory / name).write_bytes(exported)
        return archive

    @property
    def fingerprint(self) -> str:
        """Of the key, as gpg tells it."""
        listed = self._gpg("--with-colons", "--list-keys").decode()
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))

    def offer(self, version: str) -> None:
        """Put a version of the driver into both sources, beside those that are there."""
        pool = self.directory / "pool"
        for name in HEADERS:
            _deb(pool / "main", name, "6.12.95-1", {})
        _deb(pool / "main", "dkms", "3.2.2-1", {"usr/sbin/dkms": DKMS})
        for source, component in (("debian", "non-free"), ("nvidia", "flat")):
            modules = MODULES[source]
            scripts = {"postinst": _for(BUILD, modules), "prerm": REMOVE}
            _deb(pool / component, modules, f"{version}-2", {}, "dkms, nvidia-kernel-support", scripts)
            _deb(pool / component, "nvidia-kernel-support", f"{version}-2", {})
            for name in (*LIBRARIES, "nvidia-driver-cuda"):
                _deb(pool / component, name, f"{version}-2", {})
        self._index()

    def withdraw(self, version: str) -> list[Path]:
        """Take a version out of both sources; its packages then lie apart, Debian's are returned."""
        apart = self.directory / "withdrawn"
        for deb in sorted((self.directory / "pool").rglob(f"*_{version}-*.deb")):
            target = apart / deb.relative_to(self.directory / "pool")
            target.parent.mkdir(parents=True, exist_ok=True)
            deb.rename(target)
        self._index()
        return sorted((apart / "non-free").glob("*.deb"))

    def _index(self) -> None:
        suite = self.directory / "dists" / "trixie"
        for component in ("main", "contrib", "non-free", "non-free-firmware"):
            packages = suite / component / "binary-amd64" / "Packages"
            packages.parent.mkdir(parents=True, exist_ok=True)
            packages.write_text(self._packages(self.directory / "pool" / component, self.directory))
        self._release(
            suite,
            "Suite: stable\nCodename: trixie\nArchitectures: amd64\nComponents: main contrib "
            "non-free non-free-firmware\n",
        )
        flat = self.directory / "pool" / "flat"
        flat.joinpath("Packages").write_text(self._packages(flat, flat))
        flat.joinpath("key.asc").write_bytes((self.directory / "key.asc").read_bytes())
        self._release(flat, "")

    def _packages(self, pool: Path, base: Path) -> str:
        pool.mkdir(parents=True, exist_ok=True)
        return "\n".join(_entry(deb, base) for deb in sorted(pool.glob("*.deb")))

    def _release(self, directory: Path, head: str) -> None:
        files = sorted(directory.rglob("Packages"))
        rows = "".join(
            f" {_sha256(path)} {path.stat().st_size} {path.relative_to(directory)}\n" for path in files
        )
        date = f"{datetime.now(UTC):%a, %d %b %Y %H:%M:%S} UTC"
        text = f"Origin: test\n{head}Date: {date}\nSHA256:\n{rows}"
        (directory / "InRelease").write_bytes(self._gpg("--clearsign", given=text.encode()))

    def _gpg(self, *argv: str, given: bytes = b"") -> bytes:
        command = ("gpg", "--homedir", str(self.directory / "gnupg"), *argv)
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout


def _for(script: str, package: str) -> str:
    return script.replace("PACKAGE", package).replace("KERNEL", KERNEL)


def _deb(
    pool: Path,
    name: str,
    version: str,
    files: dict[str, str],
    depends: str = "",
    scripts: dict[str, str] | None = None,
) -> None:
    root = pool / f"{name}_{version}"
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: a@example.org\n"
    control += f"Depends: {depends}\n" if depends else ""
    written = {"DEBIAN/control": f"{control}Description: stand-in\n", **files}
    written |= {f"DEBIAN/{script}": text for script, text in (scripts or {}).items()}
    for path, text in written.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(0o755 if text.startswith("#!") else 0o644)
    deb = pool / f"{name}_{version}.deb"
    command = ("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(deb))
    subprocess.run(command, capture_output=True, check=True)
    subprocess.run(("rm", "-r", str(root)), check=True)


def _entry(deb: Path, base: Path) -> str:
    command = ("dpkg-deb", "--field", str(deb))
    control = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    place = f"Filename: {deb.relative_to(base)}\nSize: {deb.stat().st_size}\nSHA256: {_sha256(deb)}\n"
    return f"{control.strip()}\n{place}"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
