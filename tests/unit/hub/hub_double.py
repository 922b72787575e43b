"""A tiny double of the model hub on loopback: what the real client asks for one file."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """One repository; ``files`` maps path to (SHA-256 or git hash, size). ``token`` gates it when set."""

    repo: str = "lab/model"
    files: dict[str, tuple[str, int]] = field(default_factory=dict)
    token: str = ""
    status: int = 0
    without: tuple[str, ...] = ()
    seen: list[tuple[str, str, str, str]] = field(default_factory=list)

    def __enter__(self) -> Hub:
        hub = self

        class Handler(_Handler):
            state = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def content(self, path: str) -> bytes:
        """What a GET of ``path`` gives; the client of a pull never asks for it here."""
        return b""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Hub

    def log_message(self, *_args: object) -> None:
        pass

    def do_HEAD(self) -> None:
        hub, token = self.state, self.headers.get("Authorization", "")
        hub.seen.append((self.command, self.path, token, self.headers.get("User-Agent", "")))
        status, headers, body = self._answer(token)
        self.send_response(status)
        for name, value in headers.items():
            if name not in hub.without:
                self.send_header(name, value)
        told = headers.get("X-Linked-Size", str(len(body))) if self.command == "HEAD" else str(len(body))
        self.send_header("Content-Length", told)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_GET = do_HEAD  # noqa: N815

    def _answer(self, token: str) -> tuple[int, dict[str, str], bytes]:
        hub = self.state
        if hub.status:
            return hub.status, {}, b""
        if self.path.startswith(f"/api/models/{hub.repo}/tree/"):
            return 200, {"Content-Type": "application/json"}, json.dumps(_tree(hub)).encode()
        if not self.path.startswith(f"/{hub.repo}/resolve/"):
            return 401, {"X-Error-Code": "RepoNotFound"}, b""
        if hub.token and token != f"Bearer {hub.token}":
            return 403 if token else 401, {"X-Error-Code": "GatedRepo"}, b""
        revision, _, path = self.path.removeprefix(f"/{hub.repo}/resolve/").partition("/")
        if revision not in ("main", "v1", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        if path not in hub.files:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        etag, size = hub.files[path]
        headers = {"X-Repo-Commit": COMMIT, "X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(size)}
        return 200, {**headers, "ETag": '"of-the-transport"'}, hub.content(path)


def _tree(hub: Hub) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": path, "size": size, "oid": "0" * 40} for path, (_, size) in hub.files.items()
    ]
