"""``model``: models in the stores of hosts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from localai_deploy.cli.options import confirm, host_options, hosts_from, yes_option
from localai_deploy.cli.progress import StepProgress, say
from localai_deploy.domain.reference import parse_model_reference
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import ExitCode
from localai_deploy.targets.base import Target
from localai_deploy.workflow import deploy as workflow
from localai_deploy.workflow import models as store
from localai_deploy.workflow.observe import PlannedHost
from localai_deploy.workflow.recorded import recorded_hosts


@click.group(epilog="Example: localai-deploy model list admin@192.0.2.10")
def model() -> None:
    """Pull, list, verify and remove models on a host."""


@model.command("list", epilog="Example: localai-deploy model list admin@192.0.2.10 -o json")
@click.argument("host")
@host_options
def list_models(host: str, **options: Any) -> None:  # noqa: ANN401
    """List the models in HOST's store."""
    with _target(host, options) as target:
        found = store.ask_store(target, "list")["models"]
    if options["output"] == "json":
        _print_json("model-list", models=found)
        return
    for one in found:
        digest = (one.get("sha256") or "")[:12] or "unrecorded"
        click.echo(f"{one['file_name']:<56} {format_bytes(one['size_bytes']):>10}  sha256 {digest}")


@model.command(epilog="Example: localai-deploy model verify admin@192.0.2.10 model.gguf")
@click.argument("host")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@host_options
def verify(host: str, names: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Hash the files of HOST's store again and compare with their records; exit 4 on a difference."""
    with _target(host, options) as target:
        found = store.ask_store(target, "verify", names)["models"]
    good = all(one["ok"] for one in found)
    if options["output"] == "json":
        _print_json("model-verify", ok=good, models=found)
    else:
        for one in found:
            click.echo(f"{'✓' if one['ok'] else '✗'} {one['file_name']}  {one.get('why', '')}".rstrip())
    return int(ExitCode.DONE if good else ExitCode.VERIFICATION_FAILED)


@model.command(epilog="Example: localai-deploy model rm admin@192.0.2.10 old.gguf --yes")
@click.argument("host")
@click.argument("name")
@host_options
@yes_option
def rm(host: str, name: str, **options: Any) -> None:  # noqa: ANN401
    """Delete one model from HOST's store; a model of the deployment is refused."""
    with _deployed(host, options) as planned:
        store.refuse_removal_in_use(planned, name)
        if not confirm(f"Delete {name} from {planned.host.name}?", yes=options["yes"]):
            raise click.Abort
        answer = store.ask_store(planned.target, "rm", [name])
    if options["output"] == "json":
        _print_json("model-rm", file_name=name, freed_bytes=answer.get("freed_bytes", 0))
    else:
        click.echo(f"deleted {name} ({format_bytes(answer.get('freed_bytes', 0))})")


@model.command(epilog="Example: localai-deploy model pull admin@192.0.2.10 hf:ORG/REPO/FILE.gguf --yes")
@click.argument("host")
@click.argument("reference", metavar="REF")
@click.option("--trust-first-download", is_flag=True, help="Accept an https model without a hash.")
@host_options
@yes_option
def pull(host: str, reference: str, **options: Any) -> None:  # noqa: ANN401
    """Pull REF into HOST's store, beside what is served."""
    trust = options.pop("trust_first_download")
    parse_model_reference(reference)
    with _deployed(host, options) as planned:
        wanted = store.resolve_for(planned, reference, trust_first_download=trust)
        size = format_bytes(wanted.size_bytes) if wanted.size_bytes else "unknown size"
        if not confirm(f"Pull {wanted.file_name} ({size}) to {planned.host.name}?", yes=options["yes"]):
            raise click.Abort
        with StepProgress() as progress:
            outcome = store.pull(planned, wanted, progress)
    if outcome.error:
        raise outcome.error
    if options["output"] == "json":
        _print_json("model-pull", file_name=wanted.file_name, changed=outcome.changed > 0)
    else:
        click.echo(f"{wanted.file_name}: {'pulled' if outcome.changed else 'was there already'}")


@contextmanager
def _target(host: str, options: dict[str, Any]) -> Iterator[Target]:
    wanted = hosts_from((host,), options)
    with ExitStack() as stack:
        yield workflow.open_targets(wanted[:1], stack)[wanted[0].name]


@contextmanager
def _deployed(host: str, options: dict[str, Any]) -> Iterator[PlannedHost]:
    wanted = hosts_from((host,), options)
    with ExitStack() as stack:
        targets = workflow.open_targets(wanted[:1], stack)
        for target in targets.values():
            target.connect()
            stack.enter_context(target.hold())
        yield recorded_hosts(wanted[:1], targets, say)[0]


def _print_json(kind: str, **data: object) -> None:
    click.echo(json.dumps({"schema": f"localai-deploy/{kind}/v1", **data}, indent=2))
