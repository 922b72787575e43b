"""Where things are fetched from: public defaults, or a home's own mirror."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from localai_deploy.errors import InputError


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Base URLs without a trailing slash; an empty one means the tool's own default.

    :param conda: base of conda channels (``BASE/CHANNEL/SUBDIR/repodata.json``).
    :param huggingface: base of the model hub.
    :param pypi: a simple index (PEP 503); empty: the host's pip configuration.
    :param miniforge: base of Miniforge's release downloads.
    """

    conda: str = "https://conda.anaconda.org"
    huggingface: str = "https://huggingface.co"
    pypi: str = ""
    miniforge: str = "https://github.com/conda-forge/miniforge/releases/download"

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Mirrors:
        """Read ``localai_mirrors``.

        :raises InputError: ``mirror-invalid`` for an unknown key or a value that is no http(s) URL.
        """
        known = [field.name for field in fields(cls)]
        for key, value in values.items():
            if key not in known:
                raise InputError(
                    "mirror-invalid", f"localai_mirrors has no {key!r}", hint=f"known: {', '.join(known)}"
                )
            if not isinstance(value, str) or not value.startswith(("https://", "http://")):
                raise InputError("mirror-invalid", f"localai_mirrors.{key} is {value!r}, not an http(s) URL")
        return cls(**{key: str(value).rstrip("/") for key, value in values.items()})

    def unauthenticated(self) -> tuple[str, ...]:
        """Names of the mirrors reached over plain http."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name).startswith("http://"))
