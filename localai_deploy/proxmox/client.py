"""One node's API over HTTPS: verified TLS, an API token, the server's errors as ours."""

from __future__ import annotations

import ssl
from typing import Any

import requests
from proxmoxer import ProxmoxAPI, ResourceException
from requests.adapters import HTTPAdapter

from localai_deploy.domain.pve.credentials import FINGERPRINT_COMMAND, NodeConnection
from localai_deploy.domain.pve.version import PveVersion, parse_version
from localai_deploy.errors import LocalaiError
from localai_deploy.proxmox.answers import Refusal, error_of

TIMEOUT_S = 35
"""Longer than the server's own 30 s for work it does while we wait."""


class _PinnedCertificate(HTTPAdapter):
    """Accepts the one certificate with this SHA-256 fingerprint, whoever signed it."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Let urllib3 compare the fingerprint before anything is sent."""
        super().init_poolmanager(*args, assert_fingerprint=self._fingerprint, **kwargs)


class PveClient:
    """Calls of the API; every answer is the ``data`` of the server's JSON.

    :raises LocalaiError: ``pve-*`` from every call, ``tls-*`` when the certificate is not trusted.
    """

    def __init__(self, connection: NodeConnection, timeout_s: float = TIMEOUT_S) -> None:
        self.connection = connection
        self.node = connection.node
        verify: bool | str = connection.ca_file or True
        if connection.fingerprint or connection.insecure:
            verify = False
        token = connection.token
        self._api = ProxmoxAPI(
            connection.host,
            user=token.user,
            token_name=token.name,
            token_value=token.secret,
            verify_ssl=verify,
            timeout=timeout_s,
        )
        session: requests.Session = self._api._store["session"]  # noqa: SLF001 - proxmoxer offers no other way
        session.max_redirects = 0
        if connection.fingerprint:
            session.mount("https://", _PinnedCertificate(connection.fingerprint))

    def get(self, path: str, /, **parameters: Any) -> Any:  # noqa: ANN401
        """``GET path``."""
        return self._call("get", path, parameters)

    def post(self, path: str, /, **parameters: Any) -> Any:  # noqa: ANN401
        """``POST path``."""
        return self._call("post", path, parameters)

    def put(self, path: str, /, **parameters: Any) -> Any:  # noqa: ANN401
        """``PUT path``."""
        return self._call("put", path, parameters)

    def delete(self, path: str, /, **parameters: Any) -> Any:  # noqa: ANN401
        """``DELETE path``."""
        return self._call("delete", path, parameters)

    def version(self) -> PveVersion:
        """The server's version; an old one is refused."""
        return parse_version(str(self.get("version")["version"]))

    def _call(self, method: str, path: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
        call = f"{method.upper()} /{path}"
        try:
            return getattr(self._api(path), method)(**_plain(parameters))
        except ResourceException as error:
            fields = error.errors if isinstance(error.errors, dict) else {}
            reason = str(error.content).partition(" - {")[0]
            raise error_of(
                Refusal(call, error.status_code, reason, {str(k): str(v) for k, v in fields.items()})
            ) from error
        except requests.exceptions.SSLError as error:
            raise self._untrusted(error) from error
        except requests.exceptions.Timeout as error:
            raise LocalaiError(
                "pve-timeout",
                f"{call}: no answer within the time-out",
                why=str(error),
                hint="the call may have been carried out: run again, it looks first",
            ) from error
        except requests.exceptions.RequestException as error:
            raise LocalaiError(
                "pve-unreachable",
                f"the API of {self.connection.host} cannot be reached",
                why=_innermost(error),
                hint="check the host and port (8006), and that this machine may connect to it",
            ) from error

    def _untrusted(self, error: Exception) -> LocalaiError:
        if self.connection.fingerprint:
            return LocalaiError(
                "tls-fingerprint-mismatch",
                f"the certificate of {self.connection.host} is not the pinned one",
                why=_innermost(error),
                hint=f"compare on the node: {FINGERPRINT_COMMAND}",
            )
        return LocalaiError(
            "tls-untrusted",
            f"the certificate of {self.connection.host} is not trusted",
            why=_innermost(error),
            hint=(
                "give the cluster's CA (PROXMOX_CA_FILE, a copy of /etc/pve/pve-root-ca.pem), or pin the "
                f"certificate (PROXMOX_FINGERPRINT); on the node: {FINGERPRINT_COMMAND}"
            ),
        )


def server_fingerprint(host: str, port: int = 8006) -> str:
    """SHA-256 of the certificate that a server offers now, to be compared by a person."""
    import hashlib

    certificate = ssl.get_server_certificate((host, port), timeout=10)
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(certificate)).hexdigest()


def _plain(parameters: dict[str, Any]) -> dict[str, Any]:
    """Booleans as 1 and 0 (the server refuses ``True``); ``None`` left out; ``_`` in names as ``-``."""
    return {
        name.replace("_", "-"): int(value) if isinstance(value, bool) else value
        for name, value in parameters.items()
        if value is not None
    }


def _innermost(error: BaseException) -> str:
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return str(error)
