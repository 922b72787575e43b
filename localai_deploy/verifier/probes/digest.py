"""SHA-256 of files that take minutes to read, in a process of its own that is asked for progress.

The first question starts the process; it hashes, answers questions over a socket without a file, and ends
when its result was fetched or when nobody has asked for a while. So nothing stays behind on the host.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20
UNASKED_LIMIT_S = 90.0
ANSWER_LIMIT_BYTES = 1 << 20


def gather(request: dict[str, Any]) -> dict[str, Any]:
    """Progress after at most ``wait_s`` seconds, or the result.

    :param request: ``job`` (a name that nobody else knows), ``start`` (true in the first question only),
        ``files`` (paths), ``wait_s``.
    :returns: ``finished``, ``done_bytes``, ``total_bytes``, ``seconds``, ``sha256`` (path → hex),
        ``errors`` (path → reason).
    """
    address = f"\0localai-deploy-digest-{request['job']}"
    if request["start"]:
        start(address, request["files"], request["wait_s"])
    return ask(address, request["wait_s"] + 30)


def start(address: str, files: list[str], wait_s: float) -> None:
    """Leave a process that hashes ``files`` and answers at ``address``."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(address)
    listening.listen()
    if os.fork():
        listening.close()
        return
    try:
        _detach()
        serve(listening, Job(files), wait_s)
    finally:
        os._exit(0)


def ask(address: str, timeout_s: float) -> dict[str, Any]:
    """One question to the process at ``address``; OSError when it is gone, or is not root's."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as question:
        question.settimeout(timeout_s)
        question.connect(address)
        if _peer_uid(question) != os.geteuid():
            raise OSError("another user answers in place of the hashing process")
        data = b""
        while len(data) < ANSWER_LIMIT_BYTES and (chunk := question.recv(65536)):
            data += chunk
    answer: dict[str, Any] = json.loads(data)
    return answer


def serve(listening: socket.socket, job: Job, wait_s: float) -> None:
    """Answer until the result was given away, or until nobody asks any more."""
    worker = threading.Thread(target=job.work, daemon=True)
    worker.start()
    listening.settimeout(UNASKED_LIMIT_S + wait_s)
    finished = False
    while not finished:
        connection, _ = listening.accept()
        with connection:
            if _peer_uid(connection) != os.geteuid():
                continue
            worker.join(wait_s)
            finished = not worker.is_alive()
            connection.sendall(json.dumps({"finished": finished, **job.progress()}).encode())


class Job:
    """Hashes files one after another; ``progress`` may be called from another thread."""

    def __init__(self, files: list[str]) -> None:
        self.files = files
        self.done_bytes = 0
        self.total_bytes = sum(_size(path) for path in files)
        self.sha256: dict[str, str] = {}
        self.errors: dict[str, str] = {}
        self.started = time.monotonic()

    def work(self) -> None:
        """Hash all files; one that cannot be read becomes an error."""
        for path in self.files:
            try:
                self.sha256[path] = self._hash(path)
            except OSError as error:
                self.errors[path] = error.strerror or str(error)

    def _hash(self, path: str) -> str:
        digest = hashlib.sha256()
        with open(path, "rb") as source:  # noqa: PTH123
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                self.done_bytes += len(chunk)
        return digest.hexdigest()

    def progress(self) -> dict[str, Any]:
        """What is known now."""
        return {
            "done_bytes": self.done_bytes,
            "total_bytes": self.total_bytes,
            "sha256": dict(self.sha256),
            "errors": dict(self.errors),
            "seconds": round(time.monotonic() - self.started, 3),
        }


def _detach() -> None:
    """Let go of the connection's terminal and pipes, so that it can end while this process goes on."""
    os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nothing, descriptor)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0


def _peer_uid(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
