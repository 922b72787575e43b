"""What ``localai-deploy explain ID`` tells about an error."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Explanation:
    """One entry of the catalogue: plain sentences.

    :param title: the error in a few words.
    :param cause: why it happens.
    :param detection: how it is noticed.
    :param fix: what to do about it.
    """

    title: str
    cause: str
    detection: str
    fix: str
