"""What a web server says about a file, without fetching it."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from localai_deploy.errors import LocalaiError

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT_S = 15.0
_GONE = (http.client.NOT_FOUND, http.client.GONE)
_CLOSED = (http.client.UNAUTHORIZED, http.client.FORBIDDEN)


class _HttpsOnly(HTTPRedirectHandler):
    """Follows redirects from https to https."""

    def redirect_request(
        self, req: Request, _fp: object, _code: int, _msg: str, _headers: object, newurl: str
    ) -> Request:
        if urlsplit(newurl).scheme != "https":
            raise LocalaiError(
                "model-redirect-refused",
                f"{req.full_url} redirects to {newurl}",
                why="only https is followed",
                hint="name the file's final address",
            )
        return Request(newurl, headers=dict(req.headers), method=req.get_method())  # noqa: S310


def content_length(url: str) -> int:
    """Size in bytes of the file at an https URL, by HEAD or else by asking for its first byte.

    :returns: 0 when the server does not tell.
    :raises LocalaiError: ``model-not-found``, ``model-gated``, ``model-tls-failed``,
        ``model-redirect-refused`` or ``hub-unreachable``.
    """
    try:
        return _size(_headers(url, "HEAD"))
    except urllib.error.HTTPError:
        return _size_by_range(url)
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(url, error) from error


def _size_by_range(url: str) -> int:
    try:
        return _size(_headers(url, "GET", {"Range": "bytes=0-0"}))
    except urllib.error.HTTPError as error:
        raise refused(url, error) from error
    except (OSError, http.client.HTTPException) as error:
        raise unreachable(url, error) from error


def _headers(url: str, method: str, extra: Mapping[str, str] | None = None) -> Mapping[str, str]:
    headers = {"Accept-Encoding": "identity", "User-Agent": "localai-deploy", **(extra or {})}
    opener = build_opener(_HttpsOnly(), HTTPSHandler(context=ssl.create_default_context()))
    with opener.open(Request(url, headers=headers, method=method), timeout=_TIMEOUT_S) as answer:  # noqa: S310
        found: Mapping[str, str] = answer.headers
    return found


def _size(headers: Mapping[str, str]) -> int:
    ranged = headers.get("Content-Range", "").rpartition("/")[2]
    size = ranged or headers.get("Content-Length", "")
    return int(size) if size.isdigit() else 0


def refused(url: str, error: urllib.error.HTTPError) -> LocalaiError:
    """Build the error of an answer that is not the file."""
    why = f"HTTP {error.code} {error.reason}"
    if error.code in _GONE:
        return LocalaiError(
            "model-not-found", f"model {url} does not exist", why=why, hint="check the address"
        )
    if error.code in _CLOSED:
        return LocalaiError(
            "model-gated",
            f"model {url} is not open",
            why=why,
            hint="fetch it yourself and name it by file:PATH; https: references carry no credentials",
        )
    return unreachable(url, error)


def unreachable(url: str, error: Exception) -> LocalaiError:
    """Build the error of a request without an answer."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return LocalaiError(
            "model-tls-failed",
            f"the certificate of {url} is not trusted",
            why=reason.verify_message,
            hint="add its CA to the trust store of this machine and of the hosts",
        )
    host = urlsplit(url).netloc
    return LocalaiError(
        "hub-unreachable",
        f"{host} did not answer for {url}",
        why=str(reason) or type(reason).__name__,
        hint="check the address and the network",
    )
