"""Recorded looks at a host, as the script that looks prints them."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from localai_deploy.domain.observation_sections import BEGIN, END


def encode_sections(sections: Mapping[str, str]) -> str:
    """Inverse of :func:`localai_deploy.domain.observation_sections.decode_sections`."""
    framed = {BEGIN: "1\n", **sections, END: "1\n"}
    lines = (f"{name} {base64.b64encode(text.encode()).decode()}\n" for name, text in framed.items())
    return "".join(lines)
