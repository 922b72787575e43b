#!/usr/bin/env python3
"""The model store of one host: pull, check, list and remove model files.

One file, as it is copied to hosts alone: standard library only, Python 3.9 or later. A job is one JSON object
on stdin (so a token is in no argument list and no file), an answer one JSON line on stdout.
Exit: 0 done, 3 refused or failed, 1 unexpected.

Beside a model NAME lie NAME.json (its record) and, while it is fetched, NAME.part, NAME.part.json, NAME.lock.
NAME appears only when its SHA-256 was checked and its bytes are on disk. The record's mtime repeats the
model's: equal stamps and sizes spare a re-hash.
"""

from __future__ import annotations

import argparse
import contextlib
import email.utils
import errno
import fcntl
import hashlib
import http.client
import ipaddress
import json
import os
import random
import re
import shutil
import signal
import ssl
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHUNK_BYTES = 1 << 18
SYNC_BYTES = 128 << 20
PROGRESS_BYTES = 1 << 20
MINIMUM_BYTES_PER_S = 1024
LONGEST_WAIT_S = 300.0
GRACE_S = 1.0
STOP_TIMEOUT_S = 10.0
HEAD_BYTES = 16
SAFETENSORS_HEADER_LIMIT = 100_000_000
CACHE_TIMEOUT_S = 15.0
CACHE_ATTEMPTS = 2
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}\.(gguf|safetensors)", re.IGNORECASE)
SHA256 = re.compile(r"[0-9a-f]{64}")
CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
KINDS: dict[str, Any] = {"str": str, "int": int, "bool": bool, "float": (int, float)}


class Refusal(Exception):  # noqa: N818
    """An expected failure; ``answer`` is what the caller reads."""

    def __init__(self, error_id: str, what: str, why: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.answer = {"error_id": error_id, "what": what, "why": why, "hint": hint}


class Interrupted(Exception):  # noqa: N818
    """A download broke off, another request may mend it; ``wait_s`` is the server's wish."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Job:
    """One file to have in the store, from ``url`` or ``upload_path`` (on this host); 0 and "": not known.

    ``token`` is the hub's: only the url of an ``hf:`` reference gets it, and not over plain http.
    ``cache_url`` is another host of the site that may have the file (see model_cache.py): it is asked first,
    with ``cache_key`` and by nobody but who shows ``cache_certificate`` (PEM).
    """

    file_name: str
    reference: str = ""
    url: str = ""
    upload_path: str = ""
    sha256: str = ""
    size_bytes: int = 0
    revision: str = ""
    trust_first_download: bool = False
    token: str = field(default="", repr=False)
    cache_url: str = ""
    cache_certificate: str = ""
    cache_key: str = field(default="", repr=False)
    free_space_reserve_percent: float = 10
    stall_timeout_s: float = 60
    attempts: int = 8
    backoff_s: float = 1


def read_job(text: str) -> Job:
    """Parse and check a job; raises Refusal ``model-job-invalid`` or ``model-hash-missing``."""
    try:
        data = json.loads(text)
        known = {item.name: data[item.name] for item in fields(Job) if item.name in data}
        wrong = [
            item.name
            for item in fields(Job)
            if not isinstance(known.get(item.name, item.default), KINDS[str(item.type)])
        ]
        job = Job(**known)
    except (ValueError, TypeError, AttributeError) as error:
        raise Refusal("model-job-invalid", "the job on stdin cannot be read", type(error).__name__) from None
    if wrong:
        raise Refusal("model-job-invalid", f"the job for {job.file_name} has a wrong {', '.join(wrong)}")
    if bool(job.url) == bool(job.upload_path) or (
        job.url and urlsplit(job.url).scheme not in ("http", "https")
    ):
        raise Refusal(
            "model-job-invalid", f"the job for {job.file_name} needs an http(s) url or an upload_path"
        )
    if job.sha256 and not SHA256.fullmatch(job.sha256):
        raise Refusal("model-job-invalid", f"the sha256 of {job.file_name} is not 64 lower-case hex digits")
    if not job.sha256 and not job.trust_first_download:
        hint = "give its sha256, or accept the first download's with trust_first_download"
        raise Refusal(
            "model-hash-missing", f"nothing says which SHA-256 {job.file_name} must have", hint=hint
        )
    return job


class Place:
    """Where the model called ``name`` and its companions lie."""

    def __init__(self, directory: Path, name: str) -> None:
        if not FILE_NAME.fullmatch(name):
            raise Refusal(
                "model-job-invalid", f"{name!r} is not the plain name of a .gguf or .safetensors file"
            )
        self.directory, self.name, self.final = directory, name, directory / name
        self.record, self.lock = directory / f"{name}.json", directory / f"{name}.lock"
        self.part, self.sidecar = directory / f"{name}.part", directory / f"{name}.part.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file's lock; raises Refusal ``model-pull-busy`` when another process keeps it."""
        deadline = time.monotonic() + GRACE_S
        while (descriptor := self._try_lock()) is None:
            if time.monotonic() > deadline:
                raise Refusal("model-pull-busy", f"another process is at work on {self.name}")
            time.sleep(0.05)
        try:
            yield
        finally:
            self.lock.unlink()
            os.close(descriptor)

    def _try_lock(self) -> int | None:
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_ino == self.lock.stat().st_ino:
                return descriptor
        os.close(descriptor)
        return None

    def busy(self) -> bool:
        """Whether a process holds the lock (asked with a shared lock, kept for an instant)."""
        try:
            with self.lock.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def content_sha256(self) -> str:
        """SHA-256 of the model: the recorded one while size and stamp agree, else read; "" without a file."""
        if not self.final.is_file():
            return ""
        record, stat = read_json(self.record), self.final.stat()
        if record.get("size_bytes") == stat.st_size and self.record.stat().st_mtime_ns == stat.st_mtime_ns:
            return str(record.get("sha256"))
        return hash_file(self.final)

    def expected_sha256(self, job: Job) -> str:
        """Return the job's, or the one trusted before for the same url; "": the first download decides.

        A sidecar without a part is left when the file was published but not yet recorded.
        """
        sources = [self.record] if self.part.exists() else [self.record, self.sidecar]
        known = [
            data.get("sha256", "")
            for data in map(read_json, sources)
            if job.url and data.get("url") == job.url
        ]
        return job.sha256 or (str(known[0]) if known else "")

    def publish(self) -> None:
        """Give the checked part its final name, durably."""
        with self.part.open("rb") as stream:
            os.fchmod(stream.fileno(), 0o644)
            os.fsync(stream.fileno())
        self.part.rename(self.final)
        sync_directory(self.directory)

    def write_record(self, job: Job, sha256: str) -> bool:
        """Write and stamp the record; returns whether its content changed."""
        stat, before = self.final.stat(), read_json(self.record)
        record = {key: getattr(job, key) for key in ("reference", "revision", "url")}
        record.update(sha256=sha256, size_bytes=stat.st_size, trusted_first_download=not job.sha256)
        if record != before:
            write_json(self.record, record)
        if self.record.stat().st_mtime_ns != stat.st_mtime_ns:
            os.utime(self.record, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
        return record != before

    def discard_part(self) -> None:
        """Remove what an unfinished pull left; the sidecar first, so that no part is taken for another's."""
        for path in (self.sidecar, self.part, fresh_name(self.sidecar), fresh_name(self.record)):
            path.unlink(missing_ok=True)


class Part:
    """The unfinished file: ``offset`` bytes are written; ``digest`` covers them, or is None after a resume.

    Bytes are forced to disk every SYNC_BYTES and that offset is noted with the kernel's boot id: after a
    killed process all bytes count, after a power cut only the forced ones. The final SHA-256 decides.
    """

    def __init__(self, place: Place, job: Job, expected: str) -> None:
        self.place, self.job, self.expected = place, job, expected
        self.etag, self.total_bytes, self.offset, self.synced = "", job.size_bytes, 0, 0
        self.digest: Any = hashlib.sha256()
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
        self.file = os.fdopen(os.open(place.part, flags, 0o644), "r+b", buffering=0)
        self._resume(read_json(place.sidecar))

    def _resume(self, left: dict[str, Any]) -> None:
        size, synced = os.fstat(self.file.fileno()).st_size, int(left.get("synced_bytes", 0))
        size = size if left.get("boot_id") == boot_id() else min(size, synced)
        total = int(left.get("total_bytes", 0))
        etag = str(left.get("etag", "")) if left.get("url") == self.job.url else ""
        same_content = self.expected != "" and left.get("sha256") == self.expected
        if (
            size == 0
            or not (etag or same_content)
            or 0 < total < size
            or self.job.size_bytes not in (0, total)
        ):
            return self.restart("", 0)
        self.etag, self.total_bytes, self.offset, self.synced, self.digest = etag, total, size, synced, None
        self.file.truncate(size)
        self.file.seek(size)
        return self.save()

    def restart(self, etag: str, total_bytes: int) -> None:
        """Forget all bytes, for what the server now offers; the sidecar says so before new ones come."""
        with disk_errors(self.place.directory):
            self.file.seek(0)
            self.file.truncate(0)
            self.etag, self.total_bytes = etag, total_bytes or self.job.size_bytes
            self.offset, self.synced, self.digest = 0, 0, hashlib.sha256()
            self.save()

    def save(self, sha256: str = "") -> None:
        """Write the sidecar."""
        known = {
            "boot_id": boot_id(),
            "etag": self.etag,
            "sha256": sha256 or self.expected,
            "url": self.job.url,
        }
        write_json(
            self.place.sidecar, {**known, "synced_bytes": self.synced, "total_bytes": self.total_bytes}
        )

    def append(self, data: bytes) -> None:
        """Write ``data`` at the end; raises Refusal ``model-no-space``."""
        with disk_errors(self.place.directory):
            view = memoryview(data)
            while view:
                view = view[self.file.write(view) :]
            self.offset += len(data)
            if self.digest:
                self.digest.update(data)
            if self.offset - self.synced >= SYNC_BYTES:
                os.fsync(self.file.fileno())
                self.synced = self.offset
                self.save()

    def sha256(self) -> str:
        """SHA-256 of the file, read again only when an earlier process wrote some of it."""
        return str(self.digest.hexdigest()) if self.digest else hash_file(self.place.part)


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows http(s) only, never down from https, and shows the token to its own origin only."""

    def redirect_request(
        self, req: Request, _fp: object, _code: int, _msg: str, _headers: object, newurl: str
    ) -> Request:
        """Return the next request; raises Refusal ``model-redirect-refused``."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme, new.scheme) == ("https", "http"):
            what = f"{old.scheme}://{old.netloc} redirects to {new.scheme}://{new.netloc}"
            raise Refusal(
                "model-redirect-refused", what, "only http(s) is followed, and never down from https"
            )
        request = Request(newurl, headers=req.headers)  # noqa: S310
        token = req.unredirected_hdrs.get("Authorization")
        if token and (old.scheme, old.netloc) == (new.scheme, new.netloc):
            request.add_unredirected_header("Authorization", token)
        return request

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


def ask(job: Job, part: Part) -> http.client.HTTPResponse:
    """Request the missing bytes; returns the server's answer."""
    headers = {"Accept-Encoding": "identity", "User-Agent": "localai-deploy"}
    if part.offset:
        headers["Range"] = f"bytes={part.offset}-"
        headers.update({"If-Range": part.etag} if part.etag else {})
    request = Request(job.url, headers=headers)  # noqa: S310
    if job.token and may_carry_token(job):
        request.add_unredirected_header("Authorization", f"Bearer {job.token}")
    answer: http.client.HTTPResponse = opener_for(job).open(request, timeout=job.stall_timeout_s)
    return answer


def opener_for(job: Job) -> urllib.request.OpenerDirector:
    """Make what opens the job's url: a cache is reached without a proxy, and by its own certificate only."""
    opener = urllib.request.OpenerDirector()
    context, proxies = ssl.create_default_context(), None
    if is_cache(job):
        context, proxies = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), {}
        context.check_hostname = False
        context.load_verify_locations(cadata=job.cache_certificate)
    https, proxy = urllib.request.HTTPSHandler(context=context), urllib.request.ProxyHandler(proxies)
    errors = urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor()
    for handler in (proxy, urllib.request.HTTPHandler(), https, Redirects(), *errors):
        opener.add_handler(handler)
    return opener


def is_cache(job: Job) -> bool:
    """Whether the job's url is that of the site's cache; see :func:`cache_job`."""
    return job.cache_url != "" and job.url.startswith(f"{job.cache_url}/")


def cache_job(job: Job, sha256: str) -> Job:
    """Make the job of having the same file from the site's cache, which is given up soon."""
    url, stall_timeout_s = f"{job.cache_url}/{sha256}", min(CACHE_TIMEOUT_S, job.stall_timeout_s)
    return replace(
        job, url=url, token=job.cache_key, stall_timeout_s=stall_timeout_s, attempts=CACHE_ATTEMPTS
    )


def download(job: Job, part: Part) -> None:
    """Fetch until the answer ends; raises Interrupted when it brought too little or too much."""
    with ask(job, part) as answer:
        begin(job, part, answer)
        for data in steady(answer, job.stall_timeout_s):
            part.append(data)
            if 0 < part.total_bytes < part.offset:
                part.restart("", 0)
                raise Interrupted("the server sends more than it announced")
    if part.offset < part.total_bytes:
        raise Interrupted(f"the connection ended after {part.offset} of {part.total_bytes} bytes")


def begin(job: Job, part: Part, answer: http.client.HTTPResponse) -> None:
    """Fit the part to the answer: go on, or start again; a wrong answer leaves it alone."""
    header, etag, total = answer.headers, answer.headers.get("ETag", ""), answer.length or 0
    etag = etag if etag.startswith('"') else ""
    match = CONTENT_RANGE.fullmatch(header.get("Content-Range", ""))
    if answer.status == http.client.PARTIAL_CONTENT:
        total = int(match[2]) if match else 0
    if job.size_bytes and total not in (0, job.size_bytes):
        raise Interrupted(f"the server offers {total} bytes, {job.size_bytes} are expected")
    if header.get("Content-Encoding", "identity") != "identity":
        raise Interrupted("the server encodes the body")
    if not (part.expected or total or header.get("Transfer-Encoding") == "chunked"):
        raise Interrupted("without a length or a sha256 a cut-off file could not be told from a whole one")
    if answer.status == http.client.PARTIAL_CONTENT:
        stale = part.etag not in ("", etag) and (etag or not part.expected)
        if stale or not match or int(match[1]) != part.offset or part.total_bytes not in (0, total):
            part.restart("", 0)
            raise Interrupted("the server's file is no longer the one that was begun")
        part.total_bytes = total
        return require_space(part)
    head = answer.read(HEAD_BYTES)
    if len(head) == HEAD_BYTES:
        check_magic(part.place.name, head)
    part.restart(etag, total)
    require_space(part)
    return part.append(head)


def steady(answer: http.client.HTTPResponse, stall_timeout_s: float) -> Iterator[bytes]:
    """Yield the body as it comes; raises Interrupted when a whole stall time-out brings next to nothing."""
    since, received = time.monotonic(), 0
    while data := answer.read1(CHUNK_BYTES):
        yield data
        received += len(data)
        elapsed = time.monotonic() - since
        if elapsed >= stall_timeout_s:
            if received < MINIMUM_BYTES_PER_S * elapsed:
                raise Interrupted(f"only {received} bytes came in {elapsed:.0f} s")
            since, received = time.monotonic(), 0


def attempt(job: Job, part: Part) -> None:
    """Make one request; raises Interrupted for what may pass, Refusal for what will not."""
    try:
        download(job, part)
    except urllib.error.HTTPError as error:
        with error:
            judge_status(job, part, error)
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            what, hint = (
                f"the certificate of {job.url} is not trusted",
                "add its CA to the host's trust store",
            )
            raise Refusal("model-tls-failed", what, str(reason), hint) from None
        raise Interrupted(str(reason) or type(reason).__name__) from None


def judge_status(job: Job, part: Part, error: urllib.error.HTTPError) -> None:
    """Sort an HTTP status: nothing was missing (416), Interrupted, or Refusal."""
    status = f"HTTP {error.code} {error.reason}"
    if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
        if error.headers.get("Content-Range") == f"bytes */{part.offset}":
            return
        part.restart("", 0)
        raise Interrupted(status)
    if error.code in TRANSIENT:
        raise Interrupted(status, retry_after_s(error.headers.get("Retry-After", "")))
    if error.code in (401, 403):
        unsent = job.token and not may_carry_token(job)
        hint = "the token is kept from plain http" if unsent else "give a token that may read it"
        raise Refusal("model-gated", f"{job.url} is not allowed", status, hint)
    if error.code in (404, 410):
        raise Refusal("model-not-found", f"{job.url} does not exist", status)
    raise Refusal("model-download-failed", f"{job.url} cannot be fetched", status)


def fetch(job: Job, part: Part) -> None:
    """Repeat attempts until complete, ``job.attempts`` of them in a row without a MiB of progress."""
    failures, best = 0, part.offset
    while part.offset == 0 or part.offset != part.total_bytes:
        try:
            return attempt(job, part)
        except Interrupted as error:
            failures = 1 if part.offset - best >= PROGRESS_BYTES else failures + 1
            best = max(best, part.offset)
            if failures >= job.attempts or error.wait_s > LONGEST_WAIT_S:
                why, hint = f"{error} (attempt {failures})", "run it again later: it goes on where it stopped"
                raise Refusal("model-download-failed", f"{job.url} cannot be fetched", why, hint) from None
            pause = min(60.0, job.backoff_s * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
            time.sleep(max(error.wait_s, pause))
    return None


def fetch_from_cache(job: Job, part: Part) -> None:
    """Fetch what the site's cache gives; whatever goes wrong there, the origin is asked for the rest."""
    part.etag = ""
    with contextlib.suppress(Refusal):
        fetch(job, part)


def pull_url(job: Job, place: Place, expected: str) -> str:
    """Fetch, check, publish; returns the SHA-256. A wrong one is fetched once more from byte 0."""
    part = Part(place, job, expected)
    with part.file:
        require_space(part)
        if job.cache_url and job.cache_certificate and expected:
            fetch_from_cache(cache_job(job, expected), part)
        for _ in range(2):
            fetch(job, part)
            actual = part.sha256()
            if actual == (expected or actual):
                check_head(place.name, place.part)
                part.save(actual)
                place.publish()
                return actual
            part.restart("", 0)
    raise wrong_hash(job, expected, actual)


def pull_upload(job: Job, place: Place, expected: str) -> str:
    """Check and publish a file of this host, moved if it lies in the store, else copied; returns SHA-256."""
    upload = Path(job.upload_path)
    if not upload.is_file():
        raise Refusal("model-file-missing", f"the uploaded file {upload} is not there")
    check_head(place.name, upload)
    place.discard_part()
    if upload.parent.resolve() == place.directory.resolve():
        source = upload
    else:
        require_room(place, upload.stat().st_size, upload.stat().st_size, job.free_space_reserve_percent)
        source = Path(shutil.copyfile(upload, place.part))
    actual = hash_file(source)
    if actual != (expected or actual):
        raise wrong_hash(job, expected, actual)
    source.replace(place.part)
    place.publish()
    return actual


def pull(directory: Path, job: Job) -> dict[str, Any]:
    """Converge one model; ``state``: present (nothing to do), recorded (the record was wrong), pulled."""
    place = Place(directory, job.file_name)
    with place.locked():
        expected = place.expected_sha256(job)
        actual, state = place.content_sha256(), "recorded"
        try:
            if not actual or actual != expected:
                actual, state = (pull_url if job.url else pull_upload)(job, place, expected), "pulled"
        except Refusal:
            if size_of(place.part) == 0 or not place.sidecar.exists():
                place.discard_part()
            raise
        changed = place.write_record(job, actual)
        place.discard_part()
        size_bytes = size_of(place.final)
    state = state if changed or state == "pulled" else "present"
    answer = {
        "changed": state != "present",
        "path": str(place.final),
        "sha256": actual,
        "size_bytes": size_bytes,
    }
    return {**answer, "state": state, "error_id": "", "what": "", "why": "", "hint": ""}


def status(directory: Path, job: Job) -> dict[str, Any]:
    """Say how far the job's file is, changing nothing: present, partial, absent or different."""
    place = Place(directory, job.file_name)
    actual, partial = place.content_sha256(), size_of(place.part)
    if actual and actual == place.expected_sha256(job):
        return {"state": "present", "bytes": size_of(place.final)}
    state = "partial" if partial else "different" if actual else "absent"
    return {"state": state, "bytes": partial or size_of(place.final)}


def follow(directory: Path, name: str, seconds: float) -> dict[str, Any]:
    """Watch a pull until it ends, at most for ``seconds``; a pull that just starts has GRACE_S to appear."""
    place = Place(directory, name)
    start, begun, seen, now = time.monotonic(), size_of(place.part), False, 0.0
    while now < seconds and ((busy := place.busy()) or (not seen and now < GRACE_S)):
        seen = seen or busy
        time.sleep(0.1)
        now = time.monotonic() - start
    done, whole = size_of(place.part), size_of(place.final)
    total = int(read_json(place.sidecar).get("total_bytes", 0))
    if place.busy():
        rate = round(max(0, done - begun) / max(now, 0.1))
        return {"state": "pulling", "bytes": done, "total_bytes": total, "bytes_per_s": rate}
    if done or not whole:
        return {
            "state": "failed" if done else "absent",
            "bytes": done,
            "total_bytes": total,
            "bytes_per_s": 0,
        }
    return {"state": "done", "bytes": whole, "total_bytes": whole, "bytes_per_s": 0}


def models(directory: Path) -> list[dict[str, Any]]:
    """List what the store holds: present, partial, unrecorded, or missing (recorded only)."""
    names = {re.sub(r"(\.part)?(\.json)?$", "", path.name) for path in directory.iterdir()}
    found = []
    for place in (Place(directory, name) for name in sorted(names) if FILE_NAME.fullmatch(name)):
        record, whole, partial = read_json(place.record), size_of(place.final), size_of(place.part)
        state = (
            "present" if whole and record else "unrecorded" if whole else "partial" if partial else "missing"
        )
        found.append({**record, "file_name": place.name, "state": state, "bytes": whole or partial})
    return found


def verify(directory: Path, names: list[str]) -> dict[str, Any]:
    """Read the named (or all) models again; ``ok`` when each has its recorded SHA-256."""
    results = []
    for place in [
        Place(directory, name) for name in names or [model["file_name"] for model in models(directory)]
    ]:
        expected = str(read_json(place.record).get("sha256", ""))
        actual = hash_file(place.final) if place.final.is_file() else ""
        ok = actual == expected != ""
        results.append({"file_name": place.name, "ok": ok, "sha256": actual, "expected": expected})
    return {"ok": all(result["ok"] for result in results), "models": results}


def remove(directory: Path, name: str) -> dict[str, Any]:
    """Remove a model with its record and part."""
    place = Place(directory, name)
    with place.locked():
        paths = [path for path in (place.sidecar, place.part, place.final, place.record) if path.exists()]
        freed = size_of(place.part) + size_of(place.final)
        for path in paths:
            path.unlink()
    return {"changed": bool(paths), "freed_bytes": freed}


def stop(directory: Path) -> dict[str, Any]:
    """End the pulls at work in the store; what they fetched stays, and another pull goes on with it."""
    for pid in (stopped := pulls_at_work(directory)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while left := pulls_at_work(directory):
        if time.monotonic() > deadline:
            raise Refusal("model-pull-busy", f"pulls do not end: processes {left}")
        time.sleep(0.05)
    return {"changed": bool(stopped), "stopped": len(stopped)}


def pulls_at_work(directory: Path) -> list[int]:
    """Processes that pull into ``directory``, those that wait for them included."""
    wanted = [os.fsencode(word) for word in ("pull", "--dir", directory)]
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            program = next((n for n, word in enumerate(words) if word == os.fsencode(__file__)), len(words))
            if words[program + 1 : program + 4] == wanted:
                found.append(int(path.parent.name))
    return found


def check_head(name: str, path: Path) -> None:
    """Check the first bytes of a file; see :func:`check_magic`."""
    with path.open("rb") as stream:
        check_magic(name, stream.read(HEAD_BYTES))


def check_magic(name: str, head: bytes) -> None:
    """Raise Refusal ``model-format-wrong`` unless ``head`` begins a file of the kind that ``name`` says."""
    if name.lower().endswith(".gguf"):
        right = head[:4] == b"GGUF" and 1 <= int.from_bytes(head[4:8], "little") <= 99
    else:
        right = 2 <= int.from_bytes(head[:8], "little") <= SAFETENSORS_HEADER_LIMIT and head[8:9] == b"{"
    if not right:
        raise Refusal("model-format-wrong", f"{name} is not what its name says", f"it begins with {head!r}")


def wrong_hash(job: Job, expected: str, actual: str) -> Refusal:
    """Make the Refusal ``model-hash-mismatch``."""
    what, why = f"{job.file_name} has another SHA-256 than expected", f"{actual} instead of {expected}"
    hint = "compare with the publisher's; the source may have changed its file or hold a damaged one"
    return Refusal("model-hash-mismatch", what, why, hint)


def require_space(part: Part) -> None:
    """Raise Refusal ``model-no-space`` unless the missing bytes and the reserve fit."""
    require_room(
        part.place, part.total_bytes - part.offset, part.total_bytes, part.job.free_space_reserve_percent
    )


def require_room(place: Place, missing: int, total: int, reserve_percent: float) -> None:
    """Raise Refusal ``model-no-space`` unless ``missing`` bytes and a share of ``total`` fit."""
    disk, need = os.statvfs(place.directory), missing + int(total * reserve_percent / 100)
    free = disk.f_bavail * disk.f_frsize
    if total and free < need:
        what, why = f"no space for {place.name}", f"{need} bytes needed, {free} free in {place.directory}"
        raise Refusal("model-no-space", what, why, "free some, or choose a smaller model")


@contextlib.contextmanager
def disk_errors(directory: Path) -> Iterator[None]:
    """Turn what the file system refuses into a Refusal."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        error_id = "model-no-space" if full else "model-store-unwritable"
        raise Refusal(error_id, f"the model store {directory} cannot be used", str(error)) from None


def may_carry_token(job: Job) -> bool:
    """Whether the token is meant for the url (a hub's) and nobody on the way can read it."""
    parts = urlsplit(job.url)
    if is_cache(job):
        return parts.scheme == "https"
    private = parts.scheme == "https" or parts.hostname == "localhost"
    with contextlib.suppress(ValueError):
        private = private or ipaddress.ip_address(parts.hostname or "").is_loopback
    return private and job.reference.startswith("hf:")


def retry_after_s(header: str) -> float:
    """Seconds that a Retry-After header asks for (a number or a date); 0 when it cannot be read."""
    with contextlib.suppress(ValueError, TypeError):
        if not header.isdigit():
            return email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        return float(header)
    return 0.0


def hash_file(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while data := stream.read(1 << 20):
            digest.update(data)
    return digest.hexdigest()


def size_of(path: Path) -> int:
    """Size in bytes; 0 when it is not there."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def boot_id() -> str:
    """Identity of this boot of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def read_json(path: Path) -> dict[str, Any]:
    """Object in a JSON file; empty when absent or damaged."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        data = json.loads(path.read_text(encoding="utf-8"))
        return data if isinstance(data, dict) else {}
    return {}


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write durably: the old content or the new one, never a piece."""
    with fresh_name(path).open("w", encoding="utf-8") as stream:
        os.fchmod(stream.fileno(), 0o644)
        stream.write(json.dumps(data, indent=1, sort_keys=True) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    fresh_name(path).replace(path)
    sync_directory(path.parent)


def fresh_name(path: Path) -> Path:
    """Name under which a file's next content is written."""
    return path.with_name(path.name + ".new")


def sync_directory(path: Path) -> None:
    """Force renames and removals in a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="The model store of this host.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("pull", "status", "follow", "list", "verify", "rm", "stop"):
        command = commands.add_parser(name)
        command.add_argument("--dir", type=Path, required=True)
        if name == "follow":
            command.add_argument("--file", required=True)
            command.add_argument("--seconds", type=float, default=5)
        if name in ("verify", "rm"):
            command.add_argument("names", nargs="*" if name == "verify" else 1, metavar="NAME")
    return parser.parse_args()


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Run the command; returns its answer, raises Refusal."""
    if given.command != "stop" and not given.dir.is_dir():
        raise Refusal("model-store-missing", f"{given.dir} is not a directory")
    commands: dict[str, Callable[[], dict[str, Any]]] = {
        "pull": lambda: pull(given.dir, read_job(sys.stdin.read())),
        "status": lambda: status(given.dir, read_job(sys.stdin.read())),
        "follow": lambda: follow(given.dir, given.file, given.seconds),
        "list": lambda: {"models": models(given.dir)},
        "verify": lambda: verify(given.dir, given.names),
        "rm": lambda: remove(given.dir, given.names[0]),
        "stop": lambda: stop(given.dir),
    }
    return commands[given.command]()


def main() -> int:
    """Print the answer; returns the exit code."""
    try:
        given = arguments()
        with disk_errors(given.dir):
            answer = run(given)
    except Refusal as refusal:
        empty = {"changed": False, "path": "", "sha256": "", "size_bytes": 0, "state": "failed"}
        answer = {**empty, **refusal.answer}
    print(json.dumps(answer, sort_keys=True))
    return 3 if answer.get("error_id") or answer.get("ok") is False else 0


if __name__ == "__main__":
    sys.exit(main())
