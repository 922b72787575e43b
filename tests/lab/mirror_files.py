"""Where a lab's mirror finds its content, and the URLs that hosts use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.lab.mirror_routes import MirrorContent

if TYPE_CHECKING:
    from tests.lab.layout import Lab


def mirror_content(lab: Lab) -> MirrorContent:
    """The content below the lab's folder; parts that are not built yet are absent."""
    content = lab.directory / "content"
    files = lab.mirror / "files"
    files.mkdir(parents=True, exist_ok=True)
    return MirrorContent(
        conda=content / "conda",
        pypi=content / "pypi",
        files=files,
        debian_cache=lab.debian_cache,
        hub=dict,
    )


def apt_sources(base_url: str, suite: str, keyring: str) -> str:
    """An apt source file (deb822) that points at the mirror."""
    stanza = "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: {}\n"
    return "\n".join(
        (
            stanza.format(f"{base_url}/debian", f"{suite} {suite}-updates", keyring),
            stanza.format(f"{base_url}/debian-security", f"{suite}-security", keyring),
        )
    )
