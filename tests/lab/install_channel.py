"""Install one spec of a conda channel into a prefix: ``install_channel.py CHANNEL SPEC PREFIX [--cuda]``.

A program of its own that needs rattler only, so that it also runs inside a lab host. ``--cuda`` says that
the machine has a card for CUDA 12.9. Prints the installed packages as JSON, in the order of their names.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from rattler import BuildString, GenericVirtualPackage, PackageName, Version, install, solve


def _virtual_packages(*, cuda: bool) -> list[GenericVirtualPackage]:
    versions = {"__glibc": "2.36", "__linux": "6.1", "__unix": "0"} | ({"__cuda": "12.9"} if cuda else {})
    return [GenericVirtualPackage(PackageName(n), Version(v), BuildString("0")) for n, v in versions.items()]


async def _install(arguments: argparse.Namespace) -> list[dict[str, str]]:
    virtual_packages = _virtual_packages(cuda=arguments.cuda)
    records = await solve(
        [arguments.channel],
        [arguments.spec],
        platforms=["linux-64", "noarch"],
        virtual_packages=virtual_packages,
    )
    await install(
        records, arguments.prefix, cache_dir=arguments.prefix.with_name("cache"), show_progress=False
    )
    found = ({"name": r.name.normalized, "version": str(r.version), "build": str(r.build)} for r in records)
    return sorted(found, key=lambda package: package["name"])


def main() -> None:
    """Run the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("channel")
    parser.add_argument("spec")
    parser.add_argument("prefix", type=Path)
    parser.add_argument("--cuda", action="store_true")
    print(json.dumps(asyncio.run(_install(parser.parse_args()))))


if __name__ == "__main__":
    main()
