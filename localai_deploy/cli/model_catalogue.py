"""``model catalogue``: the models that have short names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

from localai_deploy.cli.completion import complete_reference
from localai_deploy.cli.options import output_option
from localai_deploy.cli.output import print_json
from localai_deploy.cli.terminal import show
from localai_deploy.domain.models.catalogue import BY_NAME, CATALOGUE
from localai_deploy.domain.models.entry import CatalogueFile, CatalogueModel
from localai_deploy.domain.settings import suggestion
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import InputError


@click.command(
    short_help="List the models that have short names.",
    epilog="Example: localai-deploy model catalogue qwen2.5-7b-instruct",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_reference)
@output_option
def catalogue(names: tuple[str, ...], output: str) -> None:
    """List the models that have short names, or all that is known of those NAMEd; nothing is asked.

    A name is a model reference wherever one is taken, NAME:QUANTIZATION another of its files.
    """
    chosen = [_named(name) for name in names] or CATALOGUE
    if output == "json":
        print_json("model-catalogue", models=[_model_data(model) for model in chosen])
        return
    width = max(len(model.name) for model in chosen)
    for model in chosen:
        show(f"{click.style(f'{model.name:<{width}}', bold=True)}  {_summary(model)}")
        for line in _details(model) if names else ():
            show(f"  {line}")


def _named(name: str) -> CatalogueModel:
    if name.lower() not in BY_NAME:
        raise InputError(
            "usage",
            f"the catalogue has no {name!r}",
            why=suggestion(name.lower(), BY_NAME),
            hint="localai-deploy model catalogue lists all names",
        )
    return BY_NAME[name.lower()]


def _model_data(model: CatalogueModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "kind": model.kind,
        "parameters_billion": model.parameters,
        "repository": model.repository,
        "revision": model.revision,
        "licence": model.licence,
        "gate": model.gate,
        "note": model.note,
        "files": [_file_data(model, file) for file in model.files],
    }


def _file_data(model: CatalogueModel, file: CatalogueFile) -> Mapping[str, Any]:
    return {
        "quantization": file.quantization,
        "reference": model.reference(file),
        "size_bytes": file.size_bytes or None,
        "sha256": file.sha256,
        "verified": bool(file.sha256),
    }


def _summary(model: CatalogueModel) -> str:
    kind = "" if model.kind == "chat" else f"{model.kind}, "
    gate = ", gated" if model.gate else ""
    if not model.files:
        return f"{kind}{model.licence}; no runtime here: see model catalogue {model.name}"
    first = model.files[0]
    size = f"{format_bytes(first.size_bytes):>10}" if first.size_bytes else f"{'':>10}"
    return f"{first.quantization:<6} {size}  {kind}{model.licence}{gate}"


def _details(model: CatalogueModel) -> Iterator[str]:
    for file in model.files:
        size = format_bytes(file.size_bytes) if file.size_bytes else "size not known"
        proof = f"sha256 {file.sha256}" if file.sha256 else "unverified: the hub's own sha256 is taken"
        yield f"{file.quantization:<7} {model.reference(file)}"
        yield f"{'':<7} {size}, {proof}"
    if model.gate:
        yield f"accept the terms at {model.gate}, then give a token (HF_TOKEN)"
    if model.note:
        yield model.note
