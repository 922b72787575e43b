"""How a node's API is reached and who asks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from localai_deploy.errors import InputError, LocalaiError

FINGERPRINT_COMMAND = "openssl x509 -noout -fingerprint -sha256 -in /etc/pve/local/pve-ssl.pem"

_TOKEN_ID = re.compile(r"(?:(?P<user>[^\s!@]+@[A-Za-z0-9._-]+)!)?(?P<token>[A-Za-z][A-Za-z0-9._-]+)")
_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{64}")
_RECORD_SCHEMA = 1
_RECORD_TEXTS = ("node", "host", "user", "token_id", "token_secret", "fingerprint")


@dataclass(frozen=True, slots=True)
class ApiToken:
    """``user@realm!name`` and its secret."""

    user: str
    name: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class NodeConnection:
    """One Proxmox node's API.

    :param node: the node's own name in its cluster.
    :param host: name or address, with port where it is not 8006.
    :param ca_file: verify against this CA; empty: the system's.
    :param fingerprint: SHA-256 of the server's certificate, which then needs no CA; empty: none pinned.
    :param insecure: verify nothing (said loudly wherever it is used).
    :param guest_ssh_args: further words for every ssh to a guest of this node.
    """

    node: str
    host: str
    token: ApiToken
    ca_file: str = ""
    fingerprint: str = ""
    insecure: bool = False
    guest_ssh_args: tuple[str, ...] = ()

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> NodeConnection:
        """Inverse of :meth:`to_data`; further keys are left alone.

        :raises LocalaiError: ``sandbox-record-unreadable``.
        """
        texts = [data.get(name) for name in _RECORD_TEXTS]
        arguments = data.get("guest_ssh_args")
        if (
            data.get("schema") != _RECORD_SCHEMA
            or not all(isinstance(text, str) and text for text in texts)
            or not isinstance(arguments, list)
            or not all(isinstance(word, str) for word in arguments)
        ):
            raise LocalaiError(
                "sandbox-record-unreadable",
                "the sandbox's connection record does not hold what it should",
                why=f"schema {_RECORD_SCHEMA} with {', '.join(_RECORD_TEXTS)} and guest_ssh_args is expected",
                hint="localai-deploy sandbox stop clears it away; then start it again",
            )
        node, host, user, token_id, secret, fingerprint = map(str, texts)
        return cls(
            node=node,
            host=host,
            token=parse_token(user, token_id, secret),
            fingerprint=parse_fingerprint(fingerprint),
            guest_ssh_args=tuple(arguments),
        )

    def to_data(self) -> dict[str, Any]:
        """The connection as plain data, its secret included; it is pinned by its fingerprint."""
        return {
            "schema": _RECORD_SCHEMA,
            "node": self.node,
            "host": self.host,
            "user": self.token.user,
            "token_id": self.token.name,
            "token_secret": self.token.secret,
            "fingerprint": self.fingerprint,
            "guest_ssh_args": list(self.guest_ssh_args),
        }


def parse_token(user: str, token_id: str, secret: str) -> ApiToken:
    """Read what ``PROXMOX_USER``, ``PROXMOX_TOKEN_ID`` and ``PROXMOX_TOKEN_SECRET`` hold.

    The token id may carry the user (``user@realm!name``), as the Proxmox pages show it.

    :raises InputError: ``pve-token-invalid``.
    """
    match = _TOKEN_ID.fullmatch(token_id)
    owner = (match["user"] if match else "") or user
    parts = {
        "a user with realm, such as localai@pve (PROXMOX_USER)": "@" in owner,
        "a token's name (PROXMOX_TOKEN_ID)": match is not None,
        "its secret (PROXMOX_TOKEN_SECRET)": secret != "",
    }
    if match is None or not all(parts.values()):
        raise InputError(
            "pve-token-invalid",
            "the Proxmox API token is incomplete",
            why="missing or malformed: " + "; ".join(part for part, there in parts.items() if not there),
            hint="set them in the environment, or for a node of the inventory localai_proxmox_user, …",
        )
    return ApiToken(owner, match["token"], secret)


def parse_fingerprint(text: str) -> str:
    """64 lower-case hex digits out of either usual form.

    :raises InputError: ``pve-fingerprint-invalid``.
    """
    if not text:
        return ""
    if not _FINGERPRINT.fullmatch(text):
        raise InputError(
            "pve-fingerprint-invalid",
            f"{text!r} is no SHA-256 fingerprint of a certificate",
            hint=f"print it on the node: {FINGERPRINT_COMMAND}",
        )
    return text.replace(":", "").lower()


def from_environment(environment: Mapping[str, str], node: str) -> NodeConnection:
    """The node that ``PROXMOX_HOST`` and its companions describe.

    :raises InputError: ``pve-host-missing``, ``pve-token-invalid``, ``pve-fingerprint-invalid``.
    """
    host = environment.get("PROXMOX_HOST", "")
    if not host:
        raise InputError(
            "pve-host-missing",
            f"nobody says where node {node} is",
            hint="set PROXMOX_HOST, or add the node to group proxmox_nodes of the inventory",
        )
    return NodeConnection(
        node=node,
        host=host,
        token=parse_token(
            environment.get("PROXMOX_USER", ""),
            environment.get("PROXMOX_TOKEN_ID", ""),
            environment.get("PROXMOX_TOKEN_SECRET", ""),
        ),
        ca_file=environment.get("PROXMOX_CA_FILE", ""),
        fingerprint=parse_fingerprint(environment.get("PROXMOX_FINGERPRINT", "")),
    )
