"""Where things lie on a host. The roles' defaults name the same places (held equal by a test)."""

from __future__ import annotations

CONFIG_DIR = "/etc/localai-deploy"
STATE_DIR = "/var/lib/localai-deploy"
PREFIX_DIR = "/opt/localai-deploy"
LIBRARY_DIR = "/usr/local/lib/localai-deploy"

DEPLOYMENT_FILE = f"{CONFIG_DIR}/deployment.json"
PACKAGES_FILE = f"{CONFIG_DIR}/installed-packages.json"
PACKAGES_BEFORE_FILE = f"{CONFIG_DIR}/packages-before.json"
RUNTIME_FILE = f"{CONFIG_DIR}/runtime.json"
FIT_FILE = f"{CONFIG_DIR}/fit.json"
WSL_FILE = f"{CONFIG_DIR}/wsl.json"
API_KEY_FILE = f"{CONFIG_DIR}/api-key"
GATEWAY_SERVICE = "localai-gateway"
GATEWAY_API_KEY_FILE = f"{CONFIG_DIR}/gateway-api-key"
GATEWAY_REPLICA_KEYS_FILE = f"{CONFIG_DIR}/gateway/replica-keys.json"
MODEL_STORE_DIR = f"{STATE_DIR}/models"
MODEL_STORE_PROGRAM = f"{LIBRARY_DIR}/model_store.py"

WSL_CONF = "/etc/wsl.conf"
WSL_LIBRARIES = "/usr/lib/wsl/lib"
"""Where Windows puts the libraries of its driver."""


def environment_prefix(runtime: str) -> str:
    """The conda prefix of a runtime."""
    return f"{PREFIX_DIR}/envs/{runtime}"


def archives_dir(runtime: str) -> str:
    """Where a runtime's release archives are unpacked; the prefix then is a link into it."""
    return f"{PREFIX_DIR}/archives/{runtime}"


def lock_file(runtime: str) -> str:
    """Where a host records which packages its environment holds."""
    return f"{CONFIG_DIR}/locks/{runtime}.json"


def service_name(runtime: str) -> str:
    """The systemd unit's name, without ``.service``."""
    return f"localai-{runtime.replace('_', '-')}"
