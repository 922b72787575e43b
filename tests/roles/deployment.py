"""Role variables of one whole deployment of the lab's content, as the product would resolve them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.lab.content import Content, ensure_content
from tests.lab.hub import commit_of
from tests.lab.mirror_files import MODEL_REPOSITORY

if TYPE_CHECKING:
    from tests.lab.layout import Lab
    from tests.lab.mirror_client import MirrorClient

ORDER = ("base", "conda", "llama_cpp", "model_store", "service")
PREFIX = "/opt/localai-deploy/envs/llama_cpp"
STORE = "/var/lib/localai-deploy/models"
PORT = 8080
REFERENCE = f"hf:{MODEL_REPOSITORY}/smollm2-135m-instruct-q4_1.gguf"


def deployment(lab: Lab, mirror: MirrorClient) -> dict[str, Any]:
    """Variables of all five roles."""
    content = ensure_content(lab.directory)
    lock = environment_lock(content)
    server = next(package for package in lock["packages"] if package["name"] == "llama.cpp")
    model = {
        "file_name": content.model_path.name,
        "reference": REFERENCE,
        "url": mirror.url(
            f"hf/{MODEL_REPOSITORY}/resolve/{commit_of(MODEL_REPOSITORY)}/{content.model_path.name}"
        ),
        "upload_from": "",
        "sha256": content.model_sha256,
        "size_bytes": content.model_size_bytes,
        "revision": commit_of(MODEL_REPOSITORY),
        "trust_first_download": False,
    }
    return {
        "base_deployment": {"managed_by": "localai-deploy", "name": "roles", "schema": 1},
        "conda_channel_url": mirror.url("conda/conda-forge"),
        "conda_pypi_index": mirror.url("pypi/simple"),
        "conda_lock": lock,
        "llama_cpp_package": {key: server[key] for key in ("name", "version", "build", "sha256")},
        "model_store_models": [model],
        "service_command": command(model["file_name"]),
        "service_read_only_paths": [PREFIX, f"{STORE}/{model['file_name']}"],
    }


def command(file_name: str, port: int = PORT, context: int = 2048) -> list[str]:
    """llama-server's argument list."""
    return [
        f"{PREFIX}/bin/llama-server",
        *("--model", f"{STORE}/{file_name}", "--alias", "smollm2"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *("-c", str(context), "-ngl", "0", "--parallel", "1", "--fit", "off"),
        *("--api-key-file", "{api_key_file}", "--metrics", "--offline"),
    ]


def environment_lock(content: Content, variant: str = "cpu") -> dict[str, Any]:
    """The lock of llama.cpp in ``variant`` and all that it depends on."""
    text = (content.conda_dir / "conda-forge" / "linux-64" / "repodata.json").read_text()
    packages = json.loads(text)["packages.conda"]
    other = "cuda" if variant == "cpu" else "cpu_"
    chosen = {file: entry for file, entry in packages.items() if not entry["build"].startswith(other)}
    return {
        "variant": variant,
        "platform": "linux-64",
        "channel": "conda-forge",
        "packages": [_locked(*item) for item in sorted(chosen.items())],
    }


def _locked(file: str, entry: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: entry[key] for key in ("name", "version", "build", "subdir", "sha256")},
        "url": f"linux-64/{file}",
        "size_bytes": entry["size"],
    }
