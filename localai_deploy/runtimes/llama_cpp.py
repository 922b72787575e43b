"""llama.cpp's ``llama-server`` from conda-forge's ``llama.cpp`` package."""

from __future__ import annotations

from pathlib import PurePosixPath

from localai_deploy.domain.fit.wish import UBATCH, UNQUANTISED
from localai_deploy.domain.lock import EnvironmentLock, Variant
from localai_deploy.domain.paths import WSL_LIBRARIES, environment_prefix
from localai_deploy.domain.spec import HostSpec
from localai_deploy.runtimes.base import API_KEY_FILE_TOKEN

TELLS_MEMORY = "4"
"""At this verbosity the server writes its buffers and its layers into the journal; prompts are not in it."""


class LlamaCpp:
    """The build string begins with the variant: ``cpu_…`` or ``cuda129_…`` (conda-forge's feedstock)."""

    name = "llama_cpp"
    package = "llama.cpp"
    health_path = "/health"
    open_paths = ("/health", "/v1/health", "/")

    def match_spec(self, variant: Variant) -> str:
        """See :class:`localai_deploy.runtimes.base.Runtime`."""
        return f"{self.package} * {variant}*"

    def command(self, spec: HostSpec, model_path: str) -> tuple[str, ...]:
        """Context and layers are given, and the server's own fitting is off: the plan is what runs."""
        return (
            f"{environment_prefix(self.name)}/bin/llama-server",
            *("--model", model_path),
            *("--alias", PurePosixPath(model_path).stem),
            *("--host", spec.bind, "--port", str(spec.port)),
            *("-c", str(spec.context_length), "-ngl", str(spec.gpu_layers)),
            *(("--n-cpu-moe", str(spec.cpu_expert_layers)) if spec.cpu_expert_layers else ()),
            *_cache_words(spec),
            *("--parallel", str(spec.parallel)),
            *("--fit", "off"),
            *("--api-key-file", API_KEY_FILE_TOKEN),
            "--metrics",
            *("--log-verbosity", TELLS_MEMORY),
            *("--cors-origins", "localhost"),
            "--offline",
        )

    def environment(self, spec: HostSpec, lock: EnvironmentLock) -> dict[str, str]:
        """All is on the command line, where it can be seen, but for where libraries lie.

        CUDA's own beside a release's server, where no search path that was compiled in has to name them;
        Windows' on WSL.
        """
        on_wsl = spec.driver is not None and spec.driver.is_wsl
        beside = [f"{environment_prefix(self.name)}/bin"] if lock.from_archives else []
        folders = [*beside, WSL_LIBRARIES] if on_wsl else beside
        return {"LD_LIBRARY_PATH": ":".join(folders)} if folders else {}


def _cache_words(spec: HostSpec) -> tuple[str, ...]:
    """What is not the server's own default; flash attention is, where a card has it."""
    words: list[str] = []
    if not spec.flash_attention or spec.cache_type_v not in UNQUANTISED:
        words += ["--flash-attn", "on" if spec.flash_attention else "off"]
    for flag, told in (("--cache-type-k", spec.cache_type_k), ("--cache-type-v", spec.cache_type_v)):
        words += [flag, told] if told != "f16" else []
    return (*words, "--ubatch-size", str(spec.ubatch)) if spec.ubatch != UBATCH else tuple(words)
