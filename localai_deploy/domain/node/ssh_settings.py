"""Variables of a node that say whether and how it is logged in to; its API needs none of them."""

from __future__ import annotations

import re

from localai_deploy.domain.connection import check_host_name
from localai_deploy.domain.setting import (
    BOOLEAN_SCHEMA,
    TEXT_SCHEMA,
    Setting,
    boolean,
    host_key,
    integer,
    invalid,
    text,
    texts,
)

_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}")
_PORT = integer(0, 65535)


def _user(name: str, value: object) -> str:
    given = text(name, value)
    if not _USER.fullmatch(given):
        raise invalid(name, value, "a user name")
    return given


def _host(name: str, value: object) -> str:
    given = text(name, value)
    if given:
        check_host_name(given)
    return given


NODE_SSH_SETTINGS: tuple[Setting, ...] = (
    Setting(
        "localai_proxmox_ssh",
        False,  # noqa: FBT003
        "look at the node itself over SSH, read-only, where its API does not suffice",
        boolean,
        BOOLEAN_SCHEMA,
    ),
    Setting(
        "localai_proxmox_ssh_prepare",
        False,  # noqa: FBT003
        "`node prepare` may change the node when nobody can be asked",
        boolean,
        BOOLEAN_SCHEMA,
    ),
    Setting("localai_proxmox_ssh_host", "", "name or address; empty: the API's", _host, TEXT_SCHEMA),
    Setting("localai_proxmox_ssh_user", "root", "login name", _user, TEXT_SCHEMA),
    Setting("localai_proxmox_ssh_port", 0, "TCP port; 0 leaves it to the SSH configuration", *_PORT),
    Setting("localai_proxmox_ssh_key", "", "private key; empty: the SSH configuration's", text, TEXT_SCHEMA),
    Setting(
        "localai_proxmox_ssh_host_key",
        "",
        "fingerprint of the node's SSH host key (SHA256:…), if it is not known yet",
        host_key,
        TEXT_SCHEMA,
    ),
    Setting(
        "localai_proxmox_ssh_args",
        (),
        "further ssh options, such as -o ProxyJump=…",
        texts,
        {"type": ["array", "string"], "items": {"type": "string"}},
    ),
)
