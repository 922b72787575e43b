"""Make a lab host Ubuntu to everything that asks: release files, package sources and archive, needrestart.

What is real: systemd, SSH, apt, its locks and signatures. What is not: the packages are Debian's, in Debian's
versions, the kernel is this machine's, needrestart is a stand-in that only refuses to ask anybody.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from localai_deploy.sandbox.debian_root import KEYRING
from tests.lab.mirror_daemon import ensure_mirror
from tests.lab.network import mirror_address

if TYPE_CHECKING:
    from tests.lab.host import LabHost
    from tests.lab.layout import Lab


@dataclass(frozen=True, slots=True)
class Release:
    """A release of Ubuntu, and the one of Debian that takes its place.

    :param debian: the suite whose systemd and Python are nearest.
    :param one_line: its package sources are in ``sources.list``, one a line; else deb822.
    """

    version: str
    point: str
    name: str
    codename: str
    debian: str
    one_line: bool


RELEASES = (
    Release("22.04", "22.04.5", "Jammy Jellyfish", "jammy", "bookworm", one_line=True),
    Release("24.04", "24.04.3", "Noble Numbat", "noble", "trixie", one_line=False),
)
_KEYRING = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
_SUITES = ("", "-updates", "-security")
_HOOK = "/usr/lib/needrestart/apt-pinvoke"
_SUDOERS = "etc/sudoers.d/ubuntu"
_MODES = {_HOOK[1:]: 0o755, _SUDOERS: 0o440}
_ASKS_NOBODY = """\
#!/bin/sh
[ "$DEBIAN_FRONTEND" = noninteractive ] && exit 0
echo "needrestart would ask which services to restart" >&2
exit 1
"""


def imitate_ubuntu(host: LabHost, release: Release, archive: str) -> None:
    """Make a host of the release's Debian suite say that it is Ubuntu, with packages from ``archive``."""
    for name, text in _files(release, archive).items():
        path = host.rootfs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(_MODES.get(name, 0o644))
    (host.rootfs / _KEYRING[1:]).write_bytes((host.rootfs / KEYRING[1:]).read_bytes())
    (host.rootfs / "etc/apt/sources.list.d/debian.sources").unlink()
    origin = host.rootfs / "etc/dpkg/origins/default"
    origin.unlink()
    origin.symlink_to("ubuntu")


def _files(release: Release, archive: str) -> dict[str, str]:
    description = f"Ubuntu {release.point} LTS"
    sources = "sources.list" if release.one_line else "sources.list.d/ubuntu.sources"
    return {
        "usr/lib/os-release": (
            f'PRETTY_NAME="{description}"\nNAME="Ubuntu"\nVERSION_ID="{release.version}"\n'
            f'VERSION="{release.point} LTS ({release.name})"\nVERSION_CODENAME={release.codename}\n'
            f"ID=ubuntu\nID_LIKE=debian\nUBUNTU_CODENAME={release.codename}\n"
        ),
        "etc/lsb-release": (
            f"DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE={release.version}\n"
            f'DISTRIB_CODENAME={release.codename}\nDISTRIB_DESCRIPTION="{description}"\n'
        ),
        "etc/debian_version": f"{release.debian}/sid\n",
        "etc/issue": f"{description} \\n \\l\n",
        "etc/dpkg/origins/ubuntu": "Vendor: Ubuntu\nVendor-URL: https://www.ubuntu.com/\nParent: Debian\n",
        f"etc/apt/{sources}": _sources(release, archive),
        "etc/apt/apt.conf.d/99needrestart": f'DPkg::Post-Invoke {{"{_HOOK}"; }};\n',
        _HOOK[1:]: _ASKS_NOBODY,
        _SUDOERS: "Defaults use_pty\n",
    }


def _sources(release: Release, archive: str) -> str:
    suites = [f"{release.codename}{suite}" for suite in _SUITES]
    parts = "main restricted universe multiverse"
    if release.one_line:
        return "".join(f"deb [signed-by={_KEYRING}] {archive} {suite} {parts}\n" for suite in suites)
    where = f"Types: deb\nURIs: {archive}\nSuites: {' '.join(suites)}\n"
    return f"{where}Components: {parts}\nSigned-By: {_KEYRING}\n"


@contextmanager
def ubuntu_archive(lab: Lab) -> Iterator[str]:
    """The URL ``…/ubuntu`` of an archive laid out as Ubuntu's, which sends apt on to the lab's Debian."""
    debian = ensure_mirror(lab)

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{debian}/{debian_path(self.path)}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing is logged."""

    server = ThreadingHTTPServer((mirror_address(lab), 0), Redirecting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{server.server_address[0]!s}:{server.server_address[1]}/ubuntu"
    finally:
        server.shutdown()
        server.server_close()


def debian_path(path: str) -> str:
    """Where Debian has what Ubuntu has at ``/ubuntu/…``; security updates have an archive of their own."""
    for release in RELEASES:
        path = re.sub(rf"/dists/{release.codename}(?=[-/])", f"/dists/{release.debian}", path)
    is_security = re.search(r"/dists/[a-z]+-security/|/pool/updates/", path)
    return re.sub("^/ubuntu", "debian-security" if is_security else "debian", path)
