"""Forms with a file in them."""

from __future__ import annotations

import re
from email.message import Message

Fields = list[tuple[str, str]]


def parse_multipart(content_type: str, body: bytes) -> tuple[Fields, bytes | None]:
    """Text fields and the file of a multipart/form-data body; the file's name is field `filename`."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = str(header.get_param("boundary") or "")
    fields: Fields = []
    upload: bytes | None = None
    for part in body.split(b"--" + boundary.encode())[1:]:
        if part.startswith(b"--"):
            break
        head, _, content = part.partition(b"\r\n\r\n")
        content = content.removesuffix(b"\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        file = re.search(rb'filename="([^"]*)"', head)
        if file is not None:
            upload = content
            fields.append(("filename", file.group(1).decode()))
        elif name is not None:
            fields.append((name.group(1).decode(), content.decode()))
    return fields, upload
