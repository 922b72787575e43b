"""Cloud images: the catalogue is pinned, and any other needs its checksum."""

from __future__ import annotations

import re

import pytest

from localai_deploy.domain.pve.images import CATALOGUE, CloudImage, parse_image
from localai_deploy.errors import InputError

SHA512 = "ab" * 64
SHA256 = "cd" * 32


def test_the_catalogue_has_these_systems() -> None:
    systems = {
        name: (i.system.os_id, i.system.os_version, i.system.libc_version) for name, i in CATALOGUE.items()
    }
    assert systems == {
        "debian-12": ("debian", "12", "2.36"),
        "debian-13": ("debian", "13", "2.41"),
        "ubuntu-22.04": ("ubuntu", "22.04", "2.35"),
        "ubuntu-24.04": ("ubuntu", "24.04", "2.39"),
    }


@pytest.mark.parametrize("name", CATALOGUE)
def test_entries_are_pinned(name: str) -> None:
    image = CATALOGUE[name]
    digits, date = (128, r"20\d{6}-\d{4}") if image.algorithm == "sha512" else (64, r"release-20\d{6}")
    assert re.fullmatch(rf"[0-9a-f]{{{digits}}}", image.checksum)
    assert re.search(rf"^https://cloud[a-z.-]+/.*/{date}/[^/]+$", image.url)
    assert "latest" not in image.url
    assert "current" not in image.url
    assert re.fullmatch(r"[a-z0-9._-]*20\d{6}[0-9-]*\.qcow2", image.file_name)
    assert "genericcloud" not in image.url
    assert parse_image(name) is image


def test_a_url_with_its_checksum() -> None:
    assert parse_image(
        f"https://mirror.example.org:8443/x/Rocky-9.qcow2#sha512={SHA512.upper()}"
    ) == CloudImage(
        "https://mirror.example.org:8443/x/Rocky-9.qcow2",
        "Rocky-9-abababababab.qcow2",
        SHA512,
        "sha512",
        None,
    )


@pytest.mark.parametrize(
    ("url", "file_name"),
    [
        ("https://h/noble-server-cloudimg-amd64.img", "noble-server-cloudimg-amd64-cdcdcdcdcdcd.qcow2"),
        ("https://h/a.RAW", "a-cdcdcdcdcdcd.raw"),
        ("https://h/a.vmdk", "a-cdcdcdcdcdcd.vmdk"),
        ("http://192.0.2.1:8000/a%20b.qcow2?x=1", "a_b-cdcdcdcdcdcd.qcow2"),
        ("https://h/..hidden.qcow2", "hidden-cdcdcdcdcdcd.qcow2"),
        (f"https://h/{'x' * 300}.qcow2", f"{'x' * 80}-cdcdcdcdcdcd.qcow2"),
    ],
)
def test_names_on_the_storage(url: str, file_name: str) -> None:
    image = parse_image(f"{url}#sha256={SHA256}")
    assert (image.url, image.file_name, image.algorithm) == (url, file_name, "sha256")


def test_the_same_file_name_with_another_content_is_another_name() -> None:
    names = {parse_image(f"https://h/a.qcow2#sha256={digit * 64}").file_name for digit in "ab"}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("text", "error_id", "said"),
    [
        ("debian13", "image-unknown", "did you mean debian-13?"),
        ("windows-11", "image-unknown", "debian-12, debian-13, ubuntu-22.04, ubuntu-24.04"),
        ("", "image-unknown", "known:"),
        ("https://h/a.qcow2", "image-invalid", "checksum is missing"),
        ("https://h/a.qcow2#md5=00", "image-invalid", "neither sha256 nor sha512"),
        (f"https://h/a.qcow2#sha256={SHA512}", "image-invalid", "64 hex digits"),
        (f"https://h/a.qcow2#sha256={'xy' * 32}", "image-invalid", "64 hex digits"),
        (f"https://h/a.iso#sha256={SHA256}", "image-invalid", "Proxmox imports"),
        (f"https://h/a.qcow2.xz#sha256={SHA256}", "image-invalid", "Proxmox imports"),
        (f"https://h/#sha256={SHA256}", "image-invalid", "Proxmox imports"),
        (f"https://h/.qcow2#sha256={SHA256}", "image-invalid", "Proxmox imports"),
        (f"ftp://h/a.qcow2#sha256={SHA256}", "image-invalid", "no http(s) URL"),
        (f"https:///a.qcow2#sha256={SHA256}", "image-invalid", "no http(s) URL"),
        (f"https://me:s3cret@h/a.qcow2#sha256={SHA256}", "image-invalid", "password"),
    ],
)
def test_refused(text: str, error_id: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_image(text)
    error = caught.value
    assert error.error_id == error_id
    assert said in f"{error.what} {error.why} {error.hint}"
    assert error.hint
    assert "s3cret" not in f"{error.what} {error.why} {error.hint}"
