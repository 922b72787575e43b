"""Mirrors of cloud images and of apt's archives."""

from __future__ import annotations

import pytest

from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.pve.images import CATALOGUE
from localai_deploy.errors import InputError

MIRRORS = Mirrors.from_mapping({"images": "http://192.0.2.1/images/", "apt": "http://192.0.2.1/apt/"})


@pytest.mark.parametrize(
    ("url", "fetched"),
    [
        ("https://cloud.debian.org/images/cloud/a.qcow2", "http://192.0.2.1/images/images/cloud/a.qcow2"),
        ("https://cloud-images.ubuntu.com/releases/a.img", "http://192.0.2.1/images/releases/a.img"),
        ("https://cloud.debian.org.example.org/a.qcow2", "https://cloud.debian.org.example.org/a.qcow2"),
        ("https://example.org/a.qcow2", "https://example.org/a.qcow2"),
    ],
)
def test_images(url: str, fetched: str) -> None:
    assert MIRRORS.image_url(url) == fetched
    assert Mirrors().image_url(url) == url


def test_every_catalogued_image_can_be_mirrored() -> None:
    fetched = {MIRRORS.image_url(image.url) for image in CATALOGUE.values()}
    assert len(fetched) == len(CATALOGUE)
    assert all(url.startswith("http://192.0.2.1/images/") for url in fetched)


def test_archives() -> None:
    assert MIRRORS.apt_archive("debian") == "http://192.0.2.1/apt/debian"
    assert MIRRORS.apt_archive("ubuntu") == "http://192.0.2.1/apt/ubuntu"
    assert Mirrors().apt_archive("debian") == ""


def test_plain_http_is_no_danger_where_hashes_are_pinned_or_signed() -> None:
    assert MIRRORS.unauthenticated() == ()
    assert Mirrors(conda="http://192.0.2.1", pypi="http://192.0.2.1").unauthenticated() == ("conda", "pypi")


def test_an_unknown_mirror_is_named() -> None:
    with pytest.raises(InputError) as caught:
        Mirrors.from_mapping({"docker": "https://x"})
    assert caught.value.error_id == "mirror-invalid"
    assert "images, apt" in caught.value.hint
