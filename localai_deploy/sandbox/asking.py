"""One question to a sandbox's API, as the commands around it ask: by token, certificate pinned."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
from typing import Any

from localai_deploy.domain.pve.credentials import NodeConnection


class Unanswered(Exception):  # noqa: N818
    """The API does not answer, or another server answers in its place; the text says which."""


def ask(connection: NodeConnection, path: str, timeout_s: float = 10) -> Any:  # noqa: ANN401
    """The ``data`` of ``GET path``; raises Unanswered."""
    host, _, port = connection.host.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    link = http.client.HTTPSConnection(host, int(port), timeout=timeout_s, context=context)
    try:
        link.connect()
        _check_certificate(link, connection.fingerprint)
        token = connection.token
        login = f"PVEAPIToken={token.user}!{token.name}={token.secret}"
        link.request("GET", f"/api2/json{path}", headers={"Authorization": login})
        answer = link.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise Unanswered(f"GET {path}: {answer.status} {answer.reason}")
        return json.loads(content)["data"]
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise Unanswered(f"{connection.host}: {error}") from error
    finally:
        link.close()


def _check_certificate(link: http.client.HTTPSConnection, fingerprint: str) -> None:
    assert isinstance(link.sock, ssl.SSLSocket)  # noqa: S101 - what HTTPSConnection makes
    shown = hashlib.sha256(link.sock.getpeercert(binary_form=True) or b"").hexdigest()
    if shown != fingerprint:
        raise Unanswered("another server answers at its address")
