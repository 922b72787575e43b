"""Models on a host: list, verify, remove through the store's own program; pull through its role."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from localai_deploy.domain import paths
from localai_deploy.domain.plan import StepKind
from localai_deploy.domain.reference import ModelFile, parse_model_reference
from localai_deploy.domain.settings import suggestion
from localai_deploy.errors import ExitCode, LocalaiError
from localai_deploy.hub.resolve import resolve_model
from localai_deploy.targets.base import Target
from localai_deploy.workflow.apply import HostOutcome, Listener, new_place, open_run, run_steps
from localai_deploy.workflow.deploy import project_host
from localai_deploy.workflow.observe import PlannedHost, record_of, recorded_model

HASHING_TIMEOUT_S = 3600


def ask_store(target: Target, action: str, names: Sequence[str] = ()) -> Any:  # noqa: ANN401 - decoded JSON
    """Run ``list``, ``verify`` or ``rm`` of the host's model store.

    :raises LocalaiError: ``not-deployed``, or the store's own error.
    """
    executor = target.connect()
    done = executor.run(
        ["python3", paths.MODEL_STORE_PROGRAM, action, "--dir", paths.MODEL_STORE_DIR, *names],
        sudo=True,
        timeout_s=HASHING_TIMEOUT_S,
    )
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = None
    if answer is None or done.returncode == 2:
        raise LocalaiError(
            "not-deployed",
            f"{target.name} has no model store of ours",
            why=done.stderr.decode(errors="replace").strip()[-300:],
            hint="run up first",
        )
    if isinstance(answer, dict) and answer.get("error_id"):
        raise LocalaiError(
            answer["error_id"], answer.get("what", ""), why=answer.get("why", ""), hint=answer.get("hint", "")
        )
    return answer


def find_stored(target: Target, name: str) -> dict[str, Any]:
    """What the store lists under ``name``.

    :raises LocalaiError: ``model-not-stored``.
    """
    stored = {one["file_name"]: one for one in ask_store(target, "list")["models"]}
    if name not in stored:
        raise LocalaiError(
            "model-not-stored",
            f"{target.name} has no model {name}",
            why=suggestion(name, stored),
            hint=f"in its store: {', '.join(stored) or 'nothing'}",
        )
    return dict(stored[name])


def refuse_removal_in_use(planned: PlannedHost, name: str) -> None:
    """A model that is deployed, or wanted by the inventory, would be missed or come back with the next run.

    :raises LocalaiError: ``model-in-use``.
    """
    recorded = (record_of(planned.facts) or {}).get("models", [])
    wanted = planned.deployment.models if planned.deployment else ()
    if name in {one["file_name"] for one in recorded} | {one.file_name for one in wanted}:
        raise LocalaiError(
            "model-in-use",
            f"{name} belongs to the deployment on {planned.host.name}",
            hint="deploy another model first (up --model …), then remove this one",
        )


def resolve_for(planned: PlannedHost, reference: str, *, trust_first_download: bool) -> ModelFile:
    """The exact file of ``reference``: as the host recorded it, else by the host's own mirrors."""
    parsed = parse_model_reference(reference)
    mirrors = planned.host.settings["localai_mirrors"].value
    return recorded_model(parsed, planned.facts, mirrors) or resolve_model(
        parsed,
        mirrors=mirrors,
        token=planned.host.secrets.hub_token or None,
        trust_first_download=trust_first_download,
    )


def pull(planned: PlannedHost, model: ModelFile, listener: Listener) -> HostOutcome:
    """Pull one more model onto a deployed host.

    :raises LocalaiError: ``model-in-use`` when it would replace a model of the deployment.
    """
    deployment = planned.deployment
    if deployment is None:
        raise LocalaiError("not-deployed", f"nothing of ours is on {planned.host.name}")
    known = {one.file_name: one for one in deployment.models}
    if model.file_name in known and known[model.file_name].sha256 != model.sha256:
        raise LocalaiError(
            "model-in-use",
            f"{model.file_name} would replace the model that {planned.host.name} serves",
            hint="use up --model … to change what is served",
            exit_code=ExitCode.REFUSED,
        )
    wanted = replace(planned, deployment=replace(deployment, models=(model,)))
    with ExitStack() as stack:
        name = planned.host.name
        secrets, targets = {name: planned.host.secrets}, {name: planned.target}
        run = open_run(new_place(), [project_host(wanted)], secrets, targets, stack)
        run_steps(run, [StepKind.MODELS], listener)
    return run.outcomes[planned.host.name]
