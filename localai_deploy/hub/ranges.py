"""Pieces of a file on a web server, by range requests."""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
from typing import IO
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from localai_deploy.errors import LocalaiError
from localai_deploy.hub.client import may_carry_token
from localai_deploy.hub.web import refused, unreachable

_TIMEOUT_S = 15.0
_PIECE = 1 << 20
_MOST_PASSED_OVER = 64 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class _CarefulRedirects(HTTPRedirectHandler):
    """Follows redirects to https or this machine; another host never sees the token."""

    def redirect_request(
        self, req: Request, _fp: object, _code: int, _msg: str, _headers: object, newurl: str
    ) -> Request:
        if not may_carry_token(newurl):
            raise LocalaiError(
                "model-redirect-refused",
                f"{req.full_url} redirects to {newurl}",
                why="only https is followed",
                hint="name the file's final address",
            )
        same = urlsplit(req.full_url)[:2] == urlsplit(newurl)[:2]
        kept = {key: value for key, value in req.headers.items() if same or key != "Authorization"}
        return Request(newurl, headers=kept, method=req.get_method())  # noqa: S310


class RemoteFile:
    """A file at ``url``; ``token`` goes to that host alone, and never in the clear.

    :param plain: it may come over plain http, without a token: from a mirror that somebody chose.
    :ivar requests: how many range requests were made.
    :ivar received: how many bytes came.
    """

    def __init__(self, url: str, token: str | None = None, *, plain: bool = False) -> None:
        if not may_carry_token(url) and (token or not plain):
            raise LocalaiError(
                "model-redirect-refused", f"{url} is not https", why="nobody vouches for the answer"
            )
        self.url = url
        self.requests = self.received = 0
        self._token = token
        self._opener = build_opener(_CarefulRedirects(), HTTPSHandler(context=ssl.create_default_context()))

    def read(self, offset: int, length: int) -> bytes:
        """Fetch ``length`` bytes from ``offset`` on; fewer where the file ends.

        A server that knows no ranges sends the whole file: its begin is passed over and the rest left.

        :raises LocalaiError: ``model-not-found``, ``model-gated``, ``model-ranges-refused``,
            ``model-tls-failed``, ``model-redirect-refused`` or ``hub-unreachable``.
        """
        self.requests += 1
        try:
            with self._opener.open(self._request(offset, length), timeout=_TIMEOUT_S) as answer:
                self._pass_over(answer, offset)
                return self._take(answer, length)
        except urllib.error.HTTPError as error:
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            raise refused(self.url, error) from error
        except (OSError, http.client.HTTPException) as error:
            raise unreachable(self.url, error) from error

    def _request(self, offset: int, length: int) -> Request:
        headers = {
            "Accept-Encoding": "identity",
            "Range": f"bytes={offset}-{offset + length - 1}",
            "User-Agent": "localai-deploy",
        }
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        return Request(self.url, headers=headers)  # noqa: S310

    def _pass_over(self, answer: http.client.HTTPResponse, offset: int) -> None:
        begin = 0
        if answer.status == http.client.PARTIAL_CONTENT:
            told = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
            begin = int(told[1]) if told else -1
        missing = offset - begin
        if begin < 0 or not 0 <= missing <= _MOST_PASSED_OVER:
            raise _ranges_refused(self.url, answer.headers.get("Content-Range", ""))
        self._take(answer, missing)

    def _take(self, answer: IO[bytes], length: int) -> bytes:
        pieces: list[bytes] = []
        while length and (piece := answer.read(min(length, _PIECE))):
            pieces.append(piece)
            length -= len(piece)
            self.received += len(piece)
        return b"".join(pieces)


def _ranges_refused(url: str, told: str) -> LocalaiError:
    return LocalaiError(
        "model-ranges-refused",
        f"{url} cannot be read in pieces",
        why=f"the server answers another range than was asked for ({told or 'no Content-Range'})",
        hint="fetch the file and name it by file:PATH, or use another mirror",
    )
