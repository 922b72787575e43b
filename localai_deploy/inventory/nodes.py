"""Proxmox nodes that hosts name: from the inventory, the sandbox or the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from localai_deploy.domain.pve.credentials import (
    ApiToken,
    NodeConnection,
    from_environment,
    parse_token,
)
from localai_deploy.domain.pve.wish import VmWish, vm_spec
from localai_deploy.domain.settings import Sourced, resolve_all
from localai_deploy.domain.vm_settings import NODE_SETTINGS
from localai_deploy.errors import InputError, LocalaiError
from localai_deploy.sandbox_record import is_sandbox_node, sandbox_connection

_TOKEN = ("USER", "TOKEN_ID", "TOKEN_SECRET")
_NOBODY = ApiToken("", "", "")
_LACKS = frozenset({"pve-host-missing", "pve-token-invalid", "sandbox-not-running", "sandbox-died"})
_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")


@dataclass(frozen=True, slots=True)
class Nodes:
    """What the inventory says of nodes.

    :param variables: node's inventory name → variable → value with its source.
    :param insecure: verify no certificate but pinned ones, whatever the inventory says.
    :param only_shown: nobody is asked: what is missing to reach a node is no error.
    """

    variables: Mapping[str, Mapping[str, Sourced]] = field(default_factory=dict, repr=False)
    insecure: bool = False
    only_shown: bool = False

    def connection(self, name: str, environment: Mapping[str, str] = os.environ) -> NodeConnection:
        """The node called ``name``: an entry of the inventory, the sandbox, else by ``PROXMOX_HOST``.

        :raises InputError: ``pve-host-missing``, ``pve-token-invalid``, ``setting-invalid``.
        :raises LocalaiError: ``sandbox-not-running``, ….
        """
        if self.only_shown and self.lack(name, environment):
            settings = self.settings(name, environment)
            own_name = settings["localai_proxmox_node"].value
            return NodeConnection(own_name or name, settings["localai_proxmox_host"].value, _NOBODY)
        found = self._whole(name, environment)
        return replace(found, insecure=True) if self.insecure else found

    def _whole(self, name: str, environment: Mapping[str, str]) -> NodeConnection:
        if name in self.variables:
            return _from_settings(name, self.settings(name, environment))
        if is_sandbox_node(name, environment):
            return sandbox_connection(environment, name)
        return from_environment(environment, name)

    def lack(self, name: str, environment: Mapping[str, str] = os.environ) -> LocalaiError | None:
        """What is missing to reach the node.

        :raises InputError: what is there is malformed.
        """
        try:
            self._whole(name, environment)
        except LocalaiError as error:
            if error.error_id not in _LACKS:
                raise
            return error
        return None

    def settings(self, name: str, environment: Mapping[str, str] = os.environ) -> dict[str, Sourced]:
        """The settings of a node with their sources.

        The parts of a token that an entry of the inventory leaves out are the environment's.

        :raises LocalaiError: as :meth:`connection`, but for what is missing.
        """
        flags = {"localai_proxmox_insecure": Sourced(value=True, source="flag --insecure")}
        layers = [flags] if self.insecure else []
        if name in self.variables:
            layers += [_given(self.variables[name]), _of_environment(environment, _TOKEN)]
        elif is_sandbox_node(name, environment):
            found = (
                [] if self.only_shown and self.lack(name, environment) else [_of_sandbox(environment, name)]
            )
            layers += found
        else:
            layers += [_of_environment(environment, (*_TOKEN, "HOST", "CA_FILE", "FINGERPRINT"))]
        return resolve_all(NODE_SETTINGS, layers)


def _given(variables: Mapping[str, Sourced]) -> dict[str, Sourced]:
    return {key: one for key, one in variables.items() if one.value != ""}


def _of_environment(environment: Mapping[str, str], parts: Iterable[str]) -> dict[str, Sourced]:
    names = {f"localai_proxmox_{part.lower()}": f"PROXMOX_{part}" for part in parts}
    return {
        key: Sourced(environment[name], f"environment {name}")
        for key, name in names.items()
        if environment.get(name)
    }


def _of_sandbox(environment: Mapping[str, str], name: str) -> dict[str, Sourced]:
    connection = sandbox_connection(environment, name)
    values = {
        "host": connection.host,
        "node": connection.node,
        "user": connection.token.user,
        "token_id": connection.token.name,
        "token_secret": connection.token.secret,
        "fingerprint": connection.fingerprint,
        "guest_ssh_args": connection.guest_ssh_args,
    }
    return {f"localai_proxmox_{key}": Sourced(value, "sandbox") for key, value in values.items()}


def _from_settings(name: str, settings: Mapping[str, Sourced]) -> NodeConnection:
    value = {key: one.value for key, one in settings.items()}
    return NodeConnection(
        node=value["localai_proxmox_node"] or name,
        host=_host(name, value["localai_proxmox_host"]),
        token=parse_token(
            value["localai_proxmox_user"],
            value["localai_proxmox_token_id"],
            value["localai_proxmox_token_secret"],
        ),
        ca_file=_path(value["localai_proxmox_ca_file"]),
        fingerprint=value["localai_proxmox_fingerprint"],
        insecure=value["localai_proxmox_insecure"],
        guest_ssh_args=value["localai_proxmox_guest_ssh_args"],
    )


def _host(name: str, host: str) -> str:
    if not host:
        raise InputError(
            "pve-host-missing",
            f"nobody says where node {name} is",
            hint=f"set localai_proxmox_host for {name} in the inventory",
        )
    return host


def _path(text: str) -> str:
    return str(Path(text).expanduser()) if text else ""


def vm_wish(name: str, settings: Mapping[str, Sourced], nodes: Nodes) -> VmWish:
    """The VM that a host's settings describe.

    :raises InputError: ``vm-name-invalid``, ``ssh-key-invalid``, …; ``pve-host-missing``.
    """
    from localai_deploy.inventory.node_ssh import look_login

    connection = nodes.connection(settings["localai_node"].value)
    spec, given = vm_spec(name, connection.node, settings)
    private_key, public_keys = _ssh_key(settings["localai_ssh_key"])
    return VmWish(
        spec=spec,
        node=connection,
        node_login=look_login(nodes, settings["localai_node"].value),
        given=given,
        authorized_keys=public_keys,
        private_key_file=private_key,
        first_boot_timeout_s=settings["localai_first_boot_timeout_s"].value,
        mirrors=settings["localai_mirrors"].value,
    )


def _ssh_key(setting: Sourced) -> tuple[str, tuple[str, ...]]:
    """Private key file and public keys; of the user's own keys ssh finds the private one by itself."""
    if setting.value:
        private = Path(setting.value).expanduser()
        if private.suffix == ".pub":
            return "", (_public_key(private, setting),)
        return str(private), (_public_key(private.with_name(f"{private.name}.pub"), setting),)
    own = (Path.home() / ".ssh" / f"{name}.pub" for name in _KEYS)
    return "", tuple(path.read_text(encoding="utf-8").strip() for path in own if path.is_file())[:1]


def _public_key(path: Path, setting: Sourced) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "ssh-key-invalid",
            f"the public key {path} cannot be read",
            why=f"{error} (localai_ssh_key in {setting.source})",
            hint="ssh-keygen -y -f KEY > KEY.pub makes it from the private one",
        ) from error
    if "PRIVATE KEY" in text or not text.startswith(("ssh-", "ecdsa-", "sk-")) or "\n" in text:
        raise InputError(
            "ssh-key-invalid",
            f"{path} is no public SSH key",
            why="it holds a private key" if "PRIVATE KEY" in text else "one line, as ssh-keygen writes it",
            hint="localai_ssh_key names the private key; its .pub lies beside it",
        )
    return text
