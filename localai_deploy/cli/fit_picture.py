"""Pictures to files: SVG by ourselves, PNG by Pillow, which is only needed for that."""

from __future__ import annotations

from pathlib import Path

from localai_deploy.domain.fit.matrix_picture import Picture, svg_of
from localai_deploy.errors import InputError, LocalaiError

_SCALE = 2
"""Pixels of a PNG for each of the picture's, so that it is sharp on today's screens."""
_ANCHORS = {"start": "lm", "middle": "mm", "end": "rm"}


def write_picture(picture: Picture, path: Path) -> None:
    """Write ``picture`` to ``path``, as its name ends.

    :raises InputError: ``usage`` for a name that ends in neither ``.svg`` nor ``.png``.
    :raises LocalaiError: ``picture-library-missing``.
    """
    if path.suffix.lower() == ".svg":
        path.write_text(svg_of(picture), encoding="utf-8")
    elif path.suffix.lower() == ".png":
        _write_png(picture, path)
    else:
        raise InputError("usage", f"--picture {path}: the name must end in .svg or .png")


def _write_png(picture: Picture, path: Path) -> None:
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError as error:
        raise LocalaiError(
            "picture-library-missing",
            f"{path} cannot be drawn",
            why="PNG needs Pillow, which is not installed",
            hint="pip install 'localai-deploy[picture]', or name a file .svg",
        ) from error
    image = Image.new("RGB", (picture.width * _SCALE, picture.height * _SCALE), "white")
    draw = ImageDraw.Draw(image)
    for box in picture.boxes:
        x, y = box.x * _SCALE, box.y * _SCALE
        draw.rectangle((x, y, x + box.width * _SCALE - 1, y + box.height * _SCALE - 1), fill=box.fill)
    for label in picture.labels:
        font = ImageFont.load_default(label.size * _SCALE)
        place = (label.x * _SCALE, label.y * _SCALE)
        draw.text(place, label.text, fill=label.fill, font=font, anchor=_ANCHORS[label.anchor])
    image.save(path)
