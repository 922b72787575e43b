"""``model``: models in the stores of hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import click

from localai_deploy.cli.completion import complete_reference
from localai_deploy.cli.model_catalogue import catalogue
from localai_deploy.cli.options import host_from, host_options, require_consent, yes_option
from localai_deploy.cli.output import print_json
from localai_deploy.cli.progress import RunProgress, say
from localai_deploy.cli.terminal import show
from localai_deploy.domain.reference import parse_model_reference
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import ExitCode
from localai_deploy.targets.base import Target
from localai_deploy.workflow import deploy as workflow
from localai_deploy.workflow import models as store
from localai_deploy.workflow.holding import hold
from localai_deploy.workflow.observe import PlannedHost
from localai_deploy.workflow.recorded import recorded_host


@click.group(epilog="Example: localai-deploy model list admin@192.0.2.10")
def model() -> None:
    """Pull, list, verify and remove models on a host."""


model.add_command(catalogue)


@model.command(
    "list",
    short_help="List the models in HOST's store.",
    epilog="Example: localai-deploy model list admin@192.0.2.10 -o json",
)
@click.argument("host")
@host_options
def list_models(host: str, **options: Any) -> None:  # noqa: ANN401
    """List the models in HOST's store, also unfinished downloads."""
    with _target(host, options) as target:
        found = store.ask_store(target, "list")["models"]
    if options["output"] == "json":
        print_json("model-list", models=[_model_data(one) for one in found])
        return
    width = max((len(one["file_name"]) for one in found), default=0)
    for one in found:
        show(f"{one['file_name']:<{width}}  {format_bytes(one['bytes']):>10}  {_state_text(one)}")
    if not found:
        show("the store is empty")


def _model_data(one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "file_name": one["file_name"],
        "state": one["state"],
        "bytes": one["bytes"],
        "sha256": one.get("sha256", ""),
        "reference": one.get("reference", ""),
        "url": one.get("url", ""),
        "revision": one.get("revision", ""),
        "trusted_first_download": one.get("trusted_first_download", False),
    }


def _state_text(one: Mapping[str, Any]) -> str:
    trusted = " (trusted at the first download)" if one.get("trusted_first_download") else ""
    return {
        "present": f"sha256 {one.get('sha256', '')[:12]}{trusted}",
        "partial": "unfinished download; model pull goes on with it",
        "unrecorded": "no record says where it came from",
        "missing": "recorded, but the file is gone",
    }.get(str(one["state"]), str(one["state"]))


@model.command(
    short_help="Hash models again and compare with their records.",
    epilog="Example: localai-deploy model verify admin@192.0.2.10 model.gguf",
)
@click.argument("host")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@host_options
def verify(host: str, names: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Hash the files of HOST's store again and compare with their records; exit 4 on a difference."""
    with _target(host, options) as target:
        found = [_judged(one) for one in store.ask_store(target, "verify", names)["models"]]
    good = all(one["ok"] for one in found)
    if options["output"] == "json":
        print_json("model-verify", ok=good, models=found)
    else:
        _print_judged(found)
    return int(ExitCode.DONE if good else ExitCode.VERIFICATION_FAILED)


def _judged(one: Mapping[str, Any]) -> dict[str, Any]:
    """The store's judgement of one file, with the reason in words."""
    actual, expected = one["sha256"], one["expected"]
    why = ""
    if not actual:
        why = "the file is not there"
    elif not expected:
        why = "no record says which hash it must have"
    elif not one["ok"]:
        why = f"the file changed: sha256 {actual[:12]}, recorded {expected[:12]}"
    return {
        "file_name": one["file_name"],
        "ok": one["ok"],
        "sha256": actual,
        "expected": expected,
        "why": why,
    }


def _print_judged(found: Sequence[Mapping[str, Any]]) -> None:
    width = max((len(one["file_name"]) for one in found), default=0)
    for one in found:
        mark = click.style("✓", fg="green") if one["ok"] else click.style("✗", fg="red")
        show(f"{mark} {one['file_name']:<{width}}  {one['why'] or 'sha256 ' + one['sha256'][:12]}")
    if not found:
        show("the store is empty")
    if not all(one["ok"] for one in found):
        show("  fix: up fetches a deployed model again, model pull REF any other")


@model.command(
    short_help="Delete one model that is not served.",
    epilog="Example: localai-deploy model rm admin@192.0.2.10 old.gguf --yes",
)
@click.argument("host")
@click.argument("name")
@host_options
@yes_option
def rm(host: str, name: str, **options: Any) -> None:  # noqa: ANN401
    """Delete one model from HOST's store; a model of the deployment is refused."""
    with _deployed(host, options) as planned:
        store.refuse_removal_in_use(planned, name)
        one = store.find_stored(planned.target, name)
        size = format_bytes(one["bytes"])
        require_consent(f"Delete {name} ({size}) from {planned.host.name}?", yes=options["yes"])
        freed = store.ask_store(planned.target, "rm", [name])["freed_bytes"]
    if options["output"] == "json":
        print_json("model-rm", file_name=name, freed_bytes=freed)
    else:
        show(f"deleted {name} ({format_bytes(freed)})")


@model.command(
    short_help="Pull one more model into HOST's store.",
    epilog="Example: localai-deploy model pull admin@192.0.2.10 hf:ORG/REPO/FILE.gguf --yes",
)
@click.argument("host")
@click.argument("reference", metavar="REF", shell_complete=complete_reference)
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
        require_consent(f"Pull {wanted.file_name} ({size}) to {planned.host.name}?", yes=options["yes"])
        with RunProgress() as progress:
            outcome = store.pull(planned, wanted, progress)
    if outcome.error:
        raise outcome.error
    if options["output"] == "json":
        print_json("model-pull", file_name=wanted.file_name, changed=outcome.changed > 0)
    else:
        show(f"{wanted.file_name}: {'pulled' if outcome.changed else 'was there already'}")


@contextmanager
def _target(host: str, options: dict[str, Any]) -> Iterator[Target]:
    wanted = host_from(host, options)
    with ExitStack() as stack:
        yield workflow.open_targets([wanted], stack, say)[wanted.name]


@contextmanager
def _deployed(host: str, options: dict[str, Any]) -> Iterator[PlannedHost]:
    wanted = host_from(host, options)
    with ExitStack() as stack:
        target = workflow.open_targets([wanted], stack, say)[wanted.name]
        hold(target, stack, say)
        yield recorded_host(wanted, target, say)
