"""What ssh says when no connection comes about, as our errors."""

from __future__ import annotations

from localai_deploy.errors import LocalaiError

_FAILURES = (
    ("could not resolve hostname", "host-unknown"),
    ("remote host identification has changed", "host-key-changed"),
    ("host key verification failed", "host-key-unknown"),
    ("permission denied", "ssh-auth-failed"),
    ("too many authentication failures", "ssh-auth-failed"),
    ("bad configuration option", "ssh-config-invalid"),
    ("terminating, ", "ssh-config-invalid"),
)
"""The first match counts; everything else is a host that cannot be reached."""

_SHUT_OUT = "kex_exchange_identification: connection closed"
"""An SSH server does this to an address for a while after failed logins (sshd_config: PerSourcePenalties)."""

_BEHIND_JUMP_HOST = "kex_exchange_identification"
"""The outer ssh says this of a connection that the one to the jump host never gave it."""

_HINTS = {
    "host-unknown": "check the spelling, or add the host to ~/.ssh/config",
    "host-unreachable": "is the host up, and does its SSH server listen on that port?",
    "host-key-unknown": "localai-deploy explain host-key-unknown",
    "host-key-changed": "localai-deploy explain host-key-changed",
    "ssh-auth-failed": "try `ssh {display}`; name the user (USER@HOST) or load the key into the agent",
    "ssh-config-invalid": "try `ssh -G {display}`: it names file and line",
    "jump-host-key-unknown": "log in to the jump host once by hand: your own known_hosts is asked about it",
}


_SHUT_OUT_HINT = (
    "the server closes connections at once: after failed logins it does so for some minutes; wait, and check "
    "the user and key with `ssh {display}`"
)


def connection_error(stderr: str, display: str) -> LocalaiError:
    """Make an error of what ssh printed."""
    text = stderr.lower()
    mark, error_id = next((one for one in _FAILURES if one[0] in text), ("", "host-unreachable"))
    if _BEHIND_JUMP_HOST in text and error_id.startswith("host-key"):
        error_id = "jump-host-key-unknown"
    hint = _SHUT_OUT_HINT if _SHUT_OUT in text and error_id == "host-unreachable" else _HINTS[error_id]
    return LocalaiError(
        error_id,
        f"no SSH connection to {display}",
        why=_telling_line(stderr, mark),
        hint=hint.format(display=display),
    )


def _telling_line(stderr: str, mark: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip(" @\r")]
    marked = [line for line in lines if mark and mark in line.lower()]
    return (marked or lines or ["ssh said nothing"])[-1]
