"""A deployment: everything about one host's wanted state, with nothing left to look up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localai_deploy.domain import paths
from localai_deploy.domain.fit.wish import UBATCH
from localai_deploy.domain.lock import EnvironmentLock, LockedPackage
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.spec import HostSpec

RECORD_SCHEMA = 1
MANAGED_BY = "localai-deploy"


@dataclass(frozen=True, slots=True)
class Deployment:
    """Spec, lock and model files together with what the runtime makes of them.

    :param models: resolved files; the first one is served.
    :param package: the lock's package that holds the server.
    :param command: the server's argument list, with ``{api_key_file}`` for the credential.
    :param open_paths: paths that answer without a key, by the runtime's design.
    """

    spec: HostSpec
    lock: EnvironmentLock
    models: tuple[ModelFile, ...]
    package: LockedPackage
    command: tuple[str, ...]
    environment: Mapping[str, str]
    health_path: str
    open_paths: tuple[str, ...]

    @property
    def prefix(self) -> str:
        """The conda prefix on the host."""
        return paths.environment_prefix(self.spec.runtime)

    @property
    def service_name(self) -> str:
        """The systemd unit's name, without ``.service``."""
        return paths.service_name(self.spec.runtime)

    @property
    def endpoint(self) -> str:
        """Base URL of the API as the host itself reaches it."""
        host = f"[{self.spec.bind}]" if ":" in self.spec.bind else self.spec.bind
        return f"http://{host}:{self.spec.port}"

    def record(self) -> dict[str, Any]:
        """The ownership record that lies on the host: deterministic, without secrets."""
        return {
            "schema": RECORD_SCHEMA,
            "managed_by": MANAGED_BY,
            "name": self.spec.name,
            "runtime": self.spec.runtime,
            "variant": self.spec.variant,
            "prefix": self.prefix,
            "conda_provider": self.spec.conda_provider,
            "conda_channel": self.spec.conda_channel,
            "lock_digest": self.lock.digest,
            "package": f"{self.package.name} {self.package.version} {self.package.build}",
            "models": [_model_record(model) for model in self.models],
            "context_length": self.spec.context_length,
            "parallel": self.spec.parallel,
            "gpu_layers": self.spec.gpu_layers,
            **_only_set(
                cpu_expert_layers=self.spec.cpu_expert_layers,
                gpu_memory_bytes=self.spec.gpu_memory_bytes,
                **self._not_usual(),
                devices=list(self.spec.devices),
                archives=self._archives(),
            ),
            "service": {
                "name": self.service_name,
                "bind": self.spec.bind,
                "port": self.spec.port,
                "command": list(self.command),
                "environment": dict(self.environment),
                **({"clients": list(self.spec.clients)} if self.spec.clients else {}),
                "health_path": self.health_path,
                "open_paths": list(self.open_paths),
            },
            **({"gateway": self.spec.gateway.record()} if self.spec.gateway else {}),
        }

    def _archives(self) -> list[str]:
        return [f"{one.url}#sha256={one.sha256}" for one in self.lock.packages if self.lock.from_archives]

    def _not_usual(self) -> dict[str, Any]:
        """What of the server's cache and batches is not as usual."""
        spec = self.spec
        usual = {"cache_type_k": "f16", "cache_type_v": "f16", "ubatch": UBATCH}
        found = {key: told for key, value in usual.items() if (told := getattr(spec, key)) != value}
        return found if spec.flash_attention else {**found, "flash_attention": "off"}


def _only_set(**values: object) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def model_path(model: ModelFile) -> str:
    """Where a model lies on the host."""
    return f"{paths.MODEL_STORE_DIR}/{model.file_name}"


def is_our_record(record: Mapping[str, Any]) -> bool:
    """Whether a host's record is one that this version understands."""
    return record.get("managed_by") == MANAGED_BY and record.get("schema") == RECORD_SCHEMA


def _model_record(model: ModelFile) -> dict[str, Any]:
    """A hash taken on trust stays out: it is known only after the download (see the model's own record)."""
    return {
        "file_name": model.file_name,
        "reference": model.reference,
        "revision": model.revision,
        "sha256": "" if model.trust_first_download else model.sha256,
        "size_bytes": model.size_bytes,
    }
