from __future__ import annotations

import pytest

from localai_deploy.domain.units import format_bytes, parse_bytes
from localai_deploy.errors import InputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GiB", 8 << 30),
        ("8 gib", 8 << 30),
        ("8G", 8 << 30),
        ("8", 8 << 30),
        ("8GB", 8_000_000_000),
        ("24576MiB", 24 << 30),
        ("1.5TiB", 3 << 39),
        ("512B", 512),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "-8GiB", "0", "8 GiB!", "1e9", "nan", "8PiB", "99999999999T"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_bytes(text)
    assert caught.value.error_id == "size-invalid"


def test_they_are_read_as_written() -> None:
    assert parse_bytes(format_bytes(24 << 30)) == 24 << 30
