"""The seed of a VM's first boot as an ISO image; the only importer of pycdlib."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pycdlib
import pycdlib.dates
import pycdlib.headervd
import pycdlib.utils
import yaml

from localai_deploy.domain.pve.seed import VOLUME_LABEL, Seed

_FIRST_LINE = {"user-data": "#cloud-config\n"}
_ISO_NAMES = {"meta-data": "META_DATA", "user-data": "USER_DATA", "network-config": "NETWORK_CONFIG"}
_READABLE = 0o100444
_DATE_S = 1_577_836_800
"""2020-01-01 00:00 UTC: the same seed is the same image."""

_CLOCK = SimpleNamespace(
    time=lambda: float(_DATE_S), localtime=time.gmtime, gmtime=time.gmtime, strftime=time.strftime
)
_CLOCK_READERS = (pycdlib.pycdlib, pycdlib.headervd, pycdlib.dates, pycdlib.utils)
_ONE_AT_A_TIME = threading.Lock()


def seed_files(seed: Seed) -> dict[str, bytes]:
    """File name → content, as cloud-init reads them."""
    return {name: _text(name, document).encode() for name, document in seed.documents().items()}


def seed_iso(seed: Seed) -> bytes:
    """ISO 9660 with Rock Ridge and Joliet names, labelled ``cidata``; equal for equal seeds."""
    image, output = pycdlib.PyCdlib(), io.BytesIO()
    with _fixed_clock():
        image.new(interchange_level=3, vol_ident=VOLUME_LABEL, rock_ridge="1.09", joliet=3)
        for name, content in seed_files(seed).items():
            image.add_fp(
                io.BytesIO(content),
                len(content),
                f"/{_ISO_NAMES[name]}.;1",
                rr_name=name,
                joliet_path=f"/{name}",
                file_mode=_READABLE,
            )
        image.write_fp(output)
        image.close()
    return output.getvalue()


def _text(name: str, document: Mapping[str, Any]) -> str:
    return _FIRST_LINE.get(name, "") + yaml.safe_dump(dict(document), sort_keys=False, width=1000)


@contextmanager
def _fixed_clock() -> Iterator[None]:
    """Pycdlib dates what it writes by the clock and offers no other way."""
    with _ONE_AT_A_TIME:
        for module in _CLOCK_READERS:
            vars(module)["time"] = _CLOCK
        try:
            yield
        finally:
            for module in _CLOCK_READERS:
                vars(module)["time"] = time
