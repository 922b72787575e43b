"""The runtime's own dry run: ``llama-fit-params --fit-print on`` lays a model out without loading it.

It prints a line for each device, the host last: name, weights, cache and compute buffer in whole MiB. Its
compute buffer has room for the answers of a whole batch, where the server has it for one of each slot.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from localai_deploy.domain.fit.estimate import MIB, DeviceNeed
from localai_deploy.domain.fit.wish import Wish

TOOL = "llama-fit-params"
_LINE = re.compile(r"(\S.*?) +([0-9]{1,9}) +([0-9]{1,9}) +([0-9]{1,9}) *")


@dataclass(frozen=True, slots=True)
class Told:
    """What the dry run says of one device, in bytes."""

    name: str
    weights_bytes: int
    kv_bytes: int
    compute_bytes: int


def dry_run_words(path: str, wish: Wish, gpu_layers: int) -> list[str]:
    """The tool's arguments for the model at ``path``, started as ``wish`` says."""
    words = ["--model", path, "-c", str(wish.context), "-ngl", str(gpu_layers), "-ub", str(wish.ubatch)]
    words += ["-np", str(wish.parallel), "-fa", "on" if wish.flash_attention else "off"]
    words += ["-ctk", wish.cache_type_k, "-ctv", wish.cache_type_v, "--fit", "off", "--fit-print", "on"]
    return words + (["--n-cpu-moe", str(wish.cpu_expert_layers)] if wish.cpu_expert_layers else [])


def told_by(output: str) -> tuple[Told, ...]:
    """Read the tool's standard output; lines of another form are passed over."""
    found = (_LINE.fullmatch(line) for line in output.splitlines())
    return tuple(Told(match[1], *(int(match[part]) * MIB for part in (2, 3, 4))) for match in found if match)


def difference_text(need: DeviceNeed, told: Told) -> str:
    """What the dry run says, and in brackets how much more than the estimate that is."""
    pairs: Sequence[tuple[str, int, int]] = (
        ("weights", told.weights_bytes, need.weights_bytes),
        ("cache", told.kv_bytes, need.kv_bytes),
        ("compute", told.compute_bytes, need.compute_bytes),
    )
    parts = (f"{name} {there // MIB} MiB ({round((there - here) / MIB):+d})" for name, there, here in pairs)
    return f"{told.name}: {', '.join(parts)}"
