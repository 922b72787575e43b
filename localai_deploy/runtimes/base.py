"""What every runtime tells the planner, the renderer and the verifier."""

from __future__ import annotations

from typing import Protocol

from localai_deploy.domain.lock import EnvironmentLock, Variant
from localai_deploy.domain.spec import HostSpec

API_KEY_FILE_TOKEN = "{api_key_file}"  # noqa: S105 - a placeholder, not a secret
"""Stands in a command line where the service role puts the credential's path."""


class Runtime(Protocol):
    """One inference runtime.

    :param name: as in ``localai_runtime``; also its role's and its environment's name.
    :param package: the conda package that holds the server.
    :param health_path: answers 200 when the model is loaded, without a key.
    :param open_paths: paths that the server answers without a key, by design.
    """

    name: str
    package: str
    health_path: str
    open_paths: tuple[str, ...]

    def match_spec(self, variant: Variant) -> str:
        """Conda match spec of the package in that variant."""

    def command(self, spec: HostSpec, model_path: str) -> tuple[str, ...]:
        """The server's argument list; ``{api_key_file}`` stands for the credential."""

    def environment(self, spec: HostSpec, lock: EnvironmentLock) -> dict[str, str]:
        """Environment variables of the service."""
