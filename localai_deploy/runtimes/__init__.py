"""Inference runtimes: what to install, how it is started, what it serves.

A new runtime is one module here, one line in ``_RUNTIMES`` and one role.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from localai_deploy.domain.deployment import Deployment, model_path
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.spec import HostSpec
from localai_deploy.errors import LocalaiError
from localai_deploy.runtimes.base import Runtime

_RUNTIMES = {"llama_cpp": "localai_deploy.runtimes.llama_cpp:LlamaCpp"}


def runtime_named(name: str) -> Runtime:
    """The runtime of that name; KeyError for an unknown one (settings are checked before)."""
    module, _, attribute = _RUNTIMES[name].partition(":")
    return cast("Runtime", getattr(import_module(module), attribute)())


def deployment_of(spec: HostSpec, lock: EnvironmentLock, models: tuple[ModelFile, ...]) -> Deployment:
    """What the spec's runtime makes of spec, lock and models.

    :raises LocalaiError: ``lock-variant-wrong`` when the lock's server is not of the planned variant.
    """
    runtime = runtime_named(spec.runtime)
    package = lock.package(runtime.package)
    if package is None or lock.variant != spec.variant or not package.build.startswith(spec.variant):
        found = f"{package.version} {package.build}" if package else "none"
        raise LocalaiError(
            "lock-variant-wrong",
            f"the lock of {spec.name} holds no {spec.variant} build of {runtime.package}",
            why=f"found: {found}, for variant {lock.variant}",
            hint="run again with --update to solve the environment anew",
        )
    return Deployment(
        spec=spec,
        lock=lock,
        models=models,
        package=package,
        command=runtime.command(spec, model_path(models[0])),
        environment=runtime.environment(spec, lock),
        health_path=runtime.health_path,
        open_paths=runtime.open_paths,
    )
