from __future__ import annotations

import pytest

from localai_deploy.domain.gpu.driver_version import parse_driver_version, parse_kernel_release
from localai_deploy.errors import InputError


@pytest.mark.parametrize(
    ("text", "version", "branch", "cuda"),
    [
        ("535.309.01-0+deb12u1", "535.309.01", 535, (12, 2)),
        ("550.163.01", "550.163.01", 550, (12, 4)),
        ("470.256.02-1~deb12u1", "470.256.02", 470, (11, 4)),
        ("570.211.01-0ubuntu0.24.04.1", "570.211.01", 570, (12, 8)),
        ("1:580.95.05-1", "580.95.05", 580, (13, 0)),
        ("390.157", "390.157", 390, (0, 0)),
    ],
)
def test_versions(text: str, version: str, branch: int, cuda: tuple[int, int]) -> None:
    found = parse_driver_version(text)
    assert (str(found), found.branch, found.cuda) == (version, branch, cuda)


def test_numbers_compare_not_letters() -> None:
    assert parse_driver_version("580.95.05") < parse_driver_version("580.126.09")
    assert parse_driver_version("535.261.03-1") == parse_driver_version("535.261.3")
    assert parse_driver_version("999.1").cuda >= (13, 1)


@pytest.mark.parametrize("text", ["", "535", "535.x", "nvidia 535.1", "535.1.2.3"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_driver_version(text)
    assert caught.value.error_id == "driver-version-invalid"


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.12.95+deb13-amd64", (6, 12)),
        ("6.1.0-40-cloud-amd64", (6, 1)),
        ("6.8.0-31-generic", (6, 8)),
        ("7.1-rc2", (7, 1)),
        ("odd", None),
    ],
)
def test_kernel_releases(release: str, expected: tuple[int, int] | None) -> None:
    assert parse_kernel_release(release) == expected
