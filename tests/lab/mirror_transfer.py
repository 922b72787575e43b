"""How an answer goes over the wire: ranges, conditions and faults."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from tests.lab.mirror_answer import Answer, Request, wanted_range
from tests.lab.mirror_faults import Fault, FaultKind

_CHUNK_BYTES = 1 << 18
_DRIPS_PER_S = 10
Faults = Mapping[FaultKind, Fault]


@dataclass(frozen=True, slots=True)
class Transfer:
    """What is sent: status line, headers and which bytes; ``cut_after`` < 0: all of them."""

    status: int
    headers: dict[str, str]
    answer: Answer
    part: range
    drip_bytes_per_s: int = 0
    corrupt_offset: int = -1
    cut_after: int = -1

    @property
    def ends_early(self) -> bool:
        """The connection must close after this transfer: its length is a lie or it is cut."""
        return self.cut_after >= 0 or self.headers.get("Content-Length") != str(len(self.part))

    @property
    def body_bytes(self) -> int:
        """How many bytes of the body are sent."""
        return len(self.part) if self.cut_after < 0 else min(self.cut_after, len(self.part))

    def chunks(self) -> Iterator[bytes]:
        """The body's bytes as they are due."""
        left, position = self.body_bytes, self.part.start
        with self.answer.open() as file:
            file.seek(position)
            while left > 0 and (chunk := file.read(min(left, self._step()))):
                yield self._spoiled(chunk, position)
                position += len(chunk)
                left -= len(chunk)
                if self.drip_bytes_per_s:
                    time.sleep(len(chunk) / self.drip_bytes_per_s)

    def _step(self) -> int:
        return max(1, self.drip_bytes_per_s // _DRIPS_PER_S) if self.drip_bytes_per_s else _CHUNK_BYTES

    def _spoiled(self, chunk: bytes, position: int) -> bytes:
        index = self.corrupt_offset - position
        if not 0 <= index < len(chunk):
            return chunk
        return chunk[:index] + bytes([chunk[index] ^ 0xFF]) + chunk[index + 1 :]


def make_transfer(request: Request, answer: Answer, faults: Faults) -> Transfer:
    """Apply the request's range and the faults it meets to a whole answer."""
    if (fault := faults.get("status")) is not None:
        return _whole(Answer(fault.value, b"fault\n", "text/plain"))
    if (fault := faults.get("redirect")) is not None:
        return _whole(
            replace(answer, status=302, body=b"", headers={**answer.headers, "Location": fault.target})
        )
    if answer.status != HTTPStatus.OK:
        return _whole(answer)
    if "changed-etag" in faults:
        answer = _with_other_etag(answer)
    transfer = _ranged(request, answer) if "no-ranges" not in faults else _whole(answer)
    return _with_body_faults(transfer, faults)


def _whole(answer: Answer) -> Transfer:
    size = answer.size_bytes
    headers = {"Content-Type": answer.content_type, "Content-Length": str(size), **answer.headers}
    if answer.etag:
        headers["ETag"] = f'"{answer.etag}"'
    return Transfer(answer.status, headers, answer, range(size))


def _ranged(request: Request, answer: Answer) -> Transfer:
    whole = _whole(answer)
    whole.headers["Accept-Ranges"] = "bytes"
    size = len(whole.part)
    part = wanted_range(request.headers.get("Range", ""), size)
    condition = request.headers.get("If-Range", "")
    if part is None or (
        condition and condition not in (f'"{answer.etag}"', whole.headers.get("Last-Modified"))
    ):
        return whole
    if not part:
        refusal = Answer(416, b"", "text/plain", headers={"Content-Range": f"bytes */{size}"})
        return _whole(refusal)
    headers = {
        **whole.headers,
        "Content-Length": str(len(part)),
        "Content-Range": f"bytes {part.start}-{part.stop - 1}/{size}",
    }
    return replace(whole, status=206, headers=headers, part=part)


def _with_other_etag(answer: Answer) -> Answer:
    headers = dict(answer.headers)
    if "X-Linked-Etag" in headers:
        headers["X-Linked-Etag"] = '"changed"'
    return replace(answer, etag="changed", headers=headers)


def _with_body_faults(transfer: Transfer, faults: Faults) -> Transfer:
    headers = dict(transfer.headers)
    if (fault := faults.get("wrong-length")) is not None:
        headers["Content-Length"] = str(int(headers["Content-Length"]) + fault.value)
    return replace(
        transfer,
        headers=headers,
        drip_bytes_per_s=faults["slow-drip"].value if "slow-drip" in faults else 0,
        corrupt_offset=faults["corrupt"].value if "corrupt" in faults else -1,
        cut_after=faults["cut"].value if "cut" in faults else -1,
    )
