"""A deployment as role variables: resolved data, no templates (roles: playbooks/roles/*/README.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localai_deploy.domain import paths
from localai_deploy.domain.deployment import Deployment, model_path
from localai_deploy.domain.reference import ModelFile


def role_variables(deployment: Deployment) -> dict[str, Any]:
    """Host variables for all roles, without secrets."""
    return {
        **_base(deployment),
        **_driver(deployment),
        **_conda(deployment),
        **_runtime(deployment),
        **_model_store(deployment),
        **_service(deployment),
        **_gateway(deployment),
        "localai_expected": expectations(deployment),
    }


def expectations(deployment: Deployment) -> dict[str, Any]:
    """What the verifier holds the host against."""
    return {
        "record": deployment.record(),
        "packages": {
            package.name: {"version": package.version, "build": package.build, "sha256": package.sha256}
            for package in deployment.lock.packages
        },
        "model_sha256": {model.file_name: model.sha256 for model in deployment.models},
    }


def _base(deployment: Deployment) -> dict[str, Any]:
    return {"base_deployment": deployment.record()}


def _driver(deployment: Deployment) -> dict[str, Any]:
    driver = deployment.spec.driver
    if driver is None or not driver.packages:
        return {}
    offer = driver.choice.offer
    return {
        "nvidia_driver_source": offer.source.value,
        "nvidia_driver_modules": offer.modules.value,
        "nvidia_driver_branch": offer.version.branch,
        "nvidia_driver_packages": list(driver.packages),
        "nvidia_driver_secure_boot_key": driver.choice.needs_signing,
    }


def _conda(deployment: Deployment) -> dict[str, Any]:
    spec, from_archives = deployment.spec, deployment.lock.from_archives
    return {
        "conda_provider": "archives" if from_archives else spec.conda_provider,
        "conda_prefix": deployment.prefix,
        "conda_channel_url": spec.channel_url,
        "conda_lock": deployment.lock.to_data(),
        "conda_lock_file": paths.lock_file(spec.runtime),
        "conda_pypi_index": spec.mirrors.pypi,
        "conda_miniforge_url": spec.mirrors.miniforge,
        **({"conda_github_url": spec.mirrors.github} if from_archives else {}),
    }


def _runtime(deployment: Deployment) -> dict[str, Any]:
    package = deployment.package
    return {
        "llama_cpp_prefix": deployment.prefix,
        "llama_cpp_variant": deployment.spec.variant,
        **({"llama_cpp_environment": dict(deployment.environment)} if deployment.environment else {}),
        "llama_cpp_package": {
            "name": package.name,
            "version": package.version,
            "build": package.build,
            "sha256": package.sha256,
        },
    }


def _model_store(deployment: Deployment) -> dict[str, Any]:
    cache = deployment.spec.model_cache
    wanted = {"model_store_models": [_model(model) for model in deployment.models]}
    return wanted | ({"model_store_cache": cache} if cache else {})


def _model(model: ModelFile) -> dict[str, Any]:
    return {
        "file_name": model.file_name,
        "reference": model.reference,
        "url": model.url,
        "upload_from": model.local_path,
        "sha256": model.sha256,
        "size_bytes": model.size_bytes,
        "revision": model.revision,
        "trust_first_download": model.trust_first_download,
    }


def _service(deployment: Deployment) -> dict[str, Any]:
    spec = deployment.spec
    return {
        "service_name": deployment.service_name,
        "service_description": f"{deployment.package.name} server of localai-deploy ({spec.name})",
        "service_command": list(deployment.command),
        "service_environment": dict(deployment.environment),
        "service_bind": spec.bind,
        "service_port": spec.port,
        "service_health_path": deployment.health_path,
        **({"service_gpu_devices": list(spec.driver.devices)} if spec.driver else {}),
        "service_read_only_paths": [deployment.prefix, model_path(deployment.models[0])],
        **({"service_peers": list(spec.clients)} if spec.clients else {}),
    }


def _gateway(deployment: Deployment) -> dict[str, Any]:
    gateway = deployment.spec.gateway
    if gateway is None:
        return {}
    return {
        "gateway_bind": gateway.bind,
        "gateway_port": gateway.port,
        "gateway_clients": list(gateway.clients),
        "gateway_replicas": [
            {"name": one.name, "url": one.url, "model": one.model} for one in gateway.replicas
        ],
        "gateway_pypi_index": deployment.spec.mirrors.pypi,
    }


def removal_variables(record: Mapping[str, Any], *, purge: bool) -> dict[str, Any]:
    """Role variables for taking a deployment away, from what its own record says.

    :param record: the host's record; an unreadable one is given as an empty mapping.
    """
    runtime = str(record.get("runtime") or "llama_cpp")
    return {
        "service_name": str((record.get("service") or {}).get("name") or paths.service_name(runtime)),
        "conda_prefix": str(record.get("prefix") or paths.environment_prefix(runtime)),
        "conda_lock_file": paths.lock_file(runtime),
        "model_store_purge": purge,
    }
