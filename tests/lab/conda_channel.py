"""A small real conda channel: llama.cpp and the libraries below it, from Debian's binaries.

Built as conda packages are built: a recipe's script installs into a long placeholder prefix, and the
package records where that prefix stands in a binary. The executables' ELF interpreter lies in the prefix,
so an installed server runs on the channel's own libc, and the kernel knows it by its own path.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rattler.index import index_fs
from rattler_build import Stage0Recipe, ToolConfiguration, VariantConfig

from tests.lab.debian_packages import find_packages, unpack
from tests.lab.elf import forget_library_paths, missing_libraries, relocation_command
from tests.lab.layout import LabError
from tests.lab.mirror_debian import upstream_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.lab.debian_packages import DebianPackage

CHANNEL = "conda-forge"
SUITE = "sid"
INTERPRETER = "lib/lab-glibc/ld-linux-x86-64.so.2"
CUDA_MARKER = "share/llama.cpp/cuda-variant"
_LIBRARY_PATHS = ("$ORIGIN/../lib", "$ORIGIN/../lib/lab-glibc")
_LIBRARIES = "usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True, slots=True)
class _Source:
    """What goes into one conda package.

    :param debs: Debian packages; the first gives the version.
    :param files: globs below the unpacked Debian packages, each with its folder in the prefix.
    """

    name: str
    debs: tuple[str, ...]
    files: tuple[tuple[str, str], ...]
    depends: tuple[str, ...]


_GLIBC = _Source(
    name="lab-glibc",
    debs=("libc6",),
    files=((f"{_LIBRARIES}/ld-linux-*", "lib/lab-glibc"), (f"{_LIBRARIES}/lib*.so.*", "lib/lab-glibc")),
    depends=(),
)
_LIBGCC = _Source(
    name="lab-libgcc",
    debs=("libstdc++6", "libgcc-s1", "libgomp1"),
    files=((f"{_LIBRARIES}/lib*.so.*", "lib"),),
    depends=("lab-glibc",),
)
_OPENSSL = _Source(
    name="lab-openssl",
    debs=("libssl3t64", "zlib1g", "libzstd1"),
    files=((f"{_LIBRARIES}/lib*.so.*", "lib"),),
    depends=("lab-glibc",),
)
_LLAMA_CPP = _Source(
    name="llama.cpp",
    debs=("llama.cpp-tools", "llama.cpp-tools-extra", "libllama0", "libggml0"),
    files=(
        *((f"usr/bin/llama-{tool}", "bin") for tool in ("server", "bench", "quantize", "fit-params")),
        (f"{_LIBRARIES}/ggml/backends*/libggml-cpu-*.so", "bin"),
        *((f"{_LIBRARIES}/llama/libllama-{t}-impl.so", "lib") for t in ("server", "bench", "quantize")),
        (f"{_LIBRARIES}/llama/libllama-fit-params-impl.so", "lib"),
        (f"{_LIBRARIES}/lib*.so.*", "lib"),
    ),
    depends=("lab-glibc", "lab-libgcc", "lab-openssl"),
)
_SOURCES = (_GLIBC, _LIBGCC, _OPENSSL, _LLAMA_CPP)


@dataclass(frozen=True, slots=True)
class _Build:
    """One conda package to build from the files staged for it."""

    source: _Source
    version: str
    string: str
    staged: Path
    depends: tuple[str, ...]


def build_channel(directory: Path) -> None:
    """Build :data:`CHANNEL` in ``directory``; LabError when Debian's packages cannot be had."""
    with tempfile.TemporaryDirectory(dir=directory) as name:
        work = Path(name)
        subdir = directory / CHANNEL / "linux-64"
        subdir.mkdir(parents=True)
        for build in _builds(work):
            package = Path(shutil.move(_build_package(build, work / "output"), subdir))
            package.chmod(0o644)
    asyncio.run(index_fs(directory / CHANNEL))


def _builds(work: Path) -> list[_Build]:
    archive = upstream_of("debian")
    debs = find_packages(archive, SUITE, (deb for source in _SOURCES for deb in source.debs))
    staged = {s.name: _stage(s, archive, debs, work) for s in _SOURCES}
    _check_closed(staged.values())
    versions = {source.name: debs[source.debs[0]].upstream_version for source in _SOURCES}
    libraries = [_library_build(s, versions, staged[s.name]) for s in _SOURCES if s is not _LLAMA_CPP]
    return [*libraries, *_variants(versions, staged[_LLAMA_CPP.name], work)]


def _library_build(source: _Source, versions: Mapping[str, str], staged: Path) -> _Build:
    return _Build(source, versions[source.name], "lab_0", staged, _pinned(source, versions))


def _variants(versions: Mapping[str, str], cpu: Path, work: Path) -> list[_Build]:
    """The same server twice: for any machine, and marked as the one for CUDA 12.9."""
    cuda = work / "cuda"
    shutil.copytree(cpu, cuda, symlinks=True)
    marker = cuda / CUDA_MARKER
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text("cuda129\n")
    version, depends = versions[_LLAMA_CPP.name], _pinned(_LLAMA_CPP, versions)
    return [
        _Build(_LLAMA_CPP, version, "cpu_lab_0", cpu, depends),
        _Build(_LLAMA_CPP, version, "cuda129_lab_0", cuda, (*depends, "__cuda")),
    ]


def _pinned(source: _Source, versions: Mapping[str, str]) -> tuple[str, ...]:
    """Run dependencies: what the files need at exactly the version that they were built with."""
    return ("__glibc >=2.17", *(f"{name} =={versions[name]}" for name in source.depends))


def _stage(source: _Source, archive: str, debs: Mapping[str, DebianPackage], work: Path) -> Path:
    """A folder that looks like the prefix after installation, but for the placeholder."""
    unpacked, staged = work / "unpacked" / source.name, work / "staged" / source.name
    for deb in source.debs:
        unpack(archive, debs[deb], unpacked)
        _copy(unpacked, f"usr/share/doc/{deb}/copyright", staged / "share" / "licenses" / deb)
    for pattern, folder in source.files:
        _copy(unpacked, pattern, staged / folder)
    forget_library_paths(staged)
    return staged


def _copy(unpacked: Path, pattern: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(unpacked.glob(pattern)):
        shutil.copy2(path, folder / path.name, follow_symlinks=False)


def _check_closed(staged: Iterable[Path]) -> None:
    if missing := missing_libraries(staged):
        raise LabError(f"the lab's conda packages lack {', '.join(sorted(missing))}")


def _build_package(build: _Build, output: Path) -> Path:
    """Run the build's recipe; the archive it made."""
    recipe = Stage0Recipe.from_dict(_recipe(build))
    (variant,) = recipe.render(VariantConfig())
    result = variant.run_build(
        ToolConfiguration(compression_threads=2),
        output,
        channels=[],
        package_format="conda",
        no_include_recipe=True,
    )
    (package,) = result.packages
    return Path(package)


def _recipe(build: _Build) -> dict[str, Any]:
    return {
        "package": {"name": build.source.name, "version": build.version},
        "build": {
            "number": 0,
            "string": build.string,
            "dynamic_linking": {"binary_relocation": False},
            "script": _script(build),
        },
        "requirements": {"run": list(build.depends)},
        "about": {"summary": f"{build.source.debs[0]} of Debian {SUITE}, for the lab"},
    }


def _script(build: _Build) -> list[str]:
    copy = f'cp -a {shlex.quote(str(build.staged))}/. "$PREFIX"/'
    if build.source is not _LLAMA_CPP:
        return [copy]
    return [copy, relocation_command(f"$PREFIX/{INTERPRETER}", _LIBRARY_PATHS, '"$PREFIX"/bin/llama-*')]
