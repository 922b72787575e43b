"""Where things are fetched from: public defaults, or a home's own mirror."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from localai_deploy.errors import InputError

GITHUB = "https://github.com"
IMAGE_SERVERS = ("https://cloud.debian.org", "https://cloud-images.ubuntu.com")
_PROVEN = frozenset({"github", "images", "apt"})


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Base URLs without a trailing slash; an empty one means the tool's own default.

    :param conda: base of conda channels (``BASE/CHANNEL/SUBDIR/repodata.json``).
    :param huggingface: base of the model hub.
    :param pypi: a simple index (PEP 503); empty: the host's pip configuration.
    :param miniforge: base of Miniforge's release downloads.
    :param github: takes the place of ``https://github.com`` for archives of a runtime's releases.
    :param images: takes the place of ``https://HOST`` of Debian's and Ubuntu's image servers.
    :param apt: holds ``debian`` and ``debian-security``, or ``ubuntu``, for guests at their first boot.
    """

    conda: str = "https://conda.anaconda.org"
    huggingface: str = "https://huggingface.co"
    pypi: str = ""
    miniforge: str = "https://github.com/conda-forge/miniforge/releases/download"
    github: str = GITHUB
    images: str = ""
    apt: str = ""

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
        """Names of the mirrors reached over plain http whose content no pinned hash or signature proves."""
        names = (field.name for field in fields(self) if field.name not in _PROVEN)
        return tuple(name for name in names if getattr(self, name).startswith("http://"))

    def github_url(self, url: str) -> str:
        """Where a release's archive is fetched from."""
        return f"{self.github}{url.removeprefix(GITHUB)}" if url.startswith(f"{GITHUB}/") else url

    def image_url(self, url: str) -> str:
        """Where a cloud image is fetched from."""
        server = next((one for one in IMAGE_SERVERS if self.images and url.startswith(f"{one}/")), None)
        return f"{self.images}{url.removeprefix(server)}" if server else url

    def apt_archive(self, os_id: str) -> str:
        """URL of the mirrored archive of ``debian`` or ``ubuntu``; empty: the system's own."""
        return f"{self.apt}/{os_id}" if self.apt else ""
