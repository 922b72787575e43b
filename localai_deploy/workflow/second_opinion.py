"""Ask the runtime's own dry run on this machine, where both it and the model are here."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from localai_deploy.domain.fit.choice import Option
from localai_deploy.domain.fit.dry_run import TOOL, Told, dry_run_words, told_by
from localai_deploy.domain.paths import MODEL_STORE_DIR, environment_prefix
from localai_deploy.domain.reference import ModelReference
from localai_deploy.hub.gguf import HEADER_ALONE

_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """What the runtime says of each device, in the estimate's order; or why it says nothing."""

    devices: tuple[Told, ...] = ()
    skipped: str = ""


def second_opinion(option: Option, reference: ModelReference) -> SecondOpinion:
    """Lay out what was estimated once more by the runtime; weights are not read."""
    tool = tool_here()
    if not tool:
        return SecondOpinion(skipped=f"there is no {TOOL} on this machine")
    path = _model_here(option, reference)
    if path is None:
        return SecondOpinion(skipped="the model's file is not on this machine")
    if option.candidate.draft or option.candidate.projector:
        return SecondOpinion(skipped=f"{TOOL} knows nothing of what runs beside a model")
    words = [tool, *dry_run_words(str(path), option.wish, option.estimate.gpu_layers)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return SecondOpinion(skipped=f"{tool}: {error}")
    devices = told_by(done.stdout)
    if len(devices) != len(option.estimate.devices):
        why = done.stderr.strip().rpartition("\n")[2][-200:] or f"exit status {done.returncode}"
        return SecondOpinion(skipped=f"{tool} speaks of {len(devices)} devices: {why}")
    return SecondOpinion(devices)


def tool_here() -> str:
    """The deployed runtime's tool, else that on the path; empty: none."""
    deployed = Path(environment_prefix("llama_cpp"), "bin", TOOL)
    return str(deployed) if deployed.is_file() else shutil.which(TOOL) or ""


def _model_here(option: Option, reference: ModelReference) -> Path | None:
    """The file that was named, or what the model store has of that name."""
    if reference.scheme == "file":
        path = Path(reference.path).expanduser()
    else:
        path = Path(MODEL_STORE_DIR, Path(option.candidate.name).name)
    try:
        return path if path.is_file() and path.suffix != HEADER_ALONE else None
    except OSError:
        return None
