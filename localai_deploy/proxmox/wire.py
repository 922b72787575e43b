"""Failures below HTTP as ours: no connection, no answer, no trust."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

import requests
import urllib3

from localai_deploy.domain.pve.credentials import FINGERPRINT_COMMAND, NodeConnection
from localai_deploy.errors import LocalaiError

_NO_TLS = re.compile(
    r"wrong.version.number|record.layer.failure|unknown.protocol|http.request", re.IGNORECASE
)
_CUT_OFF = re.compile(r"unexpected.eof|eof occurred|connection reset|connection aborted", re.IGNORECASE)
_NO_PEM = re.compile(r"no.certificate.or.crl|no.start.line|PEM lib", re.IGNORECASE)
_NOT_VALID_NOW = frozenset({9, 10})
_WRONG_NAME = frozenset({62, 63, 64})
_TRUST_HINT = (
    "give the cluster's CA (PROXMOX_CA_FILE, a copy of /etc/pve/pve-root-ca.pem), or pin the "
    f"certificate (PROXMOX_FINGERPRINT); on the node: {FINGERPRINT_COMMAND}"
)
_MAYBE_DONE = "the call may have been carried out: run again, it looks first"


def error_of_wire(call: str, connection: NodeConnection, error: Exception) -> LocalaiError:
    """Our error for one of requests or of the system."""
    chain = list(_chain(error))
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return _redirected(connection, error)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return _unreachable(connection, chain)
    if isinstance(error, requests.exceptions.Timeout):
        return LocalaiError(
            "pve-timeout", f"{call}: no answer within the time-out", why=str(chain[-1]), hint=_MAYBE_DONE
        )
    if isinstance(error, requests.exceptions.SSLError):
        return _of_tls(call, connection, chain)
    if _never_connected(chain):
        return _unreachable(connection, chain)
    if "CA certificate" in str(error):
        return _bad_ca_file(connection, str(error))
    return _interrupted(call, chain)


def _of_tls(call: str, connection: NodeConnection, chain: list[BaseException]) -> LocalaiError:
    why = str(chain[-1])
    told = " ".join(map(str, chain))
    if connection.fingerprint and "ingerprint" in told:
        return LocalaiError(
            "tls-fingerprint-mismatch",
            f"the certificate of {connection.host} is not the pinned one",
            why=why,
            hint=f"compare on the node: {FINGERPRINT_COMMAND}",
        )
    if _NO_TLS.search(told):
        return LocalaiError(
            "tls-missing",
            f"{connection.host} does not speak TLS",
            why=why,
            hint="the API is https on port 8006; plain http is never spoken to it",
        )
    if _CUT_OFF.search(told):
        return _interrupted(call, chain)
    code = next((one.verify_code for one in chain if isinstance(one, ssl.SSLCertVerificationError)), 0)
    return _untrusted(connection, code, why)


def _untrusted(connection: NodeConnection, code: int, why: str) -> LocalaiError:
    if code in _NOT_VALID_NOW:
        return LocalaiError(
            "tls-expired",
            f"the certificate of {connection.host} is not valid now",
            why=why,
            hint="check the clocks; on the node, pvecm updatecerts --force makes a new one",
        )
    if code in _WRONG_NAME:
        return LocalaiError(
            "tls-wrong-name",
            f"the certificate of {connection.host} is for another name",
            why=why,
            hint="name the host as its certificate does (the node's name), or pin the certificate",
        )
    if _NO_PEM.search(why):
        return _bad_ca_file(connection, why)
    return LocalaiError(
        "tls-untrusted", f"the certificate of {connection.host} is not trusted", why=why, hint=_TRUST_HINT
    )


def _bad_ca_file(connection: NodeConnection, why: str) -> LocalaiError:
    return LocalaiError(
        "tls-ca-unreadable",
        f"the CA file {connection.ca_file} cannot be used",
        why=why,
        hint="PROXMOX_CA_FILE must be a PEM file, such as a copy of /etc/pve/pve-root-ca.pem",
    )


def _redirected(connection: NodeConnection, error: requests.exceptions.TooManyRedirects) -> LocalaiError:
    answer = error.response
    target = answer.headers.get("Location", "") if answer is not None else ""
    return LocalaiError(
        "pve-redirected",
        f"{connection.host} sends us elsewhere",
        why=f"to {target}" if target else "",
        hint="the token is sent to no other host: give the node's own name and port",
    )


def _unreachable(connection: NodeConnection, chain: list[BaseException]) -> LocalaiError:
    return LocalaiError(
        "pve-unreachable",
        f"the API of {connection.host} cannot be reached",
        why=str(chain[-1]),
        hint="check the host and port (8006), and that this machine may connect to it",
    )


def _interrupted(call: str, chain: list[BaseException]) -> LocalaiError:
    return LocalaiError(
        "pve-interrupted",
        f"{call}: the connection broke off before the answer was there",
        why=str(chain[-1]),
        hint=_MAYBE_DONE,
    )


def _never_connected(chain: list[BaseException]) -> bool:
    kinds = (urllib3.exceptions.NewConnectionError, requests.exceptions.InvalidURL)
    return any(isinstance(one, kinds) for one in chain)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies below it, the innermost last."""
    seen: set[int] = set()
    below: BaseException | None = error
    while below is not None and id(below) not in seen:
        seen.add(id(below))
        yield below
        below = below.__cause__ or below.__context__
