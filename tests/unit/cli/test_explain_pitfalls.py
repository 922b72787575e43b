"""Every pitfall that is known from the field can be looked up without a network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from localai_deploy.cli.catalogue import catalogue

PAGE = Path(__file__).parents[4] / "shared" / "design" / "pitfalls.md"


def test_every_pitfall_of_the_page_is_explained() -> None:
    if not PAGE.is_file():
        pytest.skip("the design's page of pitfalls is not beside this checkout")
    ids = re.findall(r"^\| ([a-z][a-z-]+) \|", PAGE.read_text(), re.MULTILINE)
    ids.remove("id")
    assert len(ids) == 25
    assert sorted(set(ids) - set(catalogue())) == []
