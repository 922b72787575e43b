"""Every recorded conversation with a real server, set up in a sandbox and held against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from localai_deploy.sandbox.server import Sandbox
from localai_deploy.sandbox.site import Pace
from tests.unit.sandbox.comparing import Comparison
from tests.unit.sandbox.replay import TRANSCRIPTS, Client, host_action, site_of

FILES = sorted(TRANSCRIPTS.glob("pve*.json")) if TRANSCRIPTS.exists() else []
pytestmark = pytest.mark.skipif(not FILES, reason="the recorded conversations are not here")


def replay(transcript: dict[str, Any]) -> tuple[int, list[str], list[str]]:
    """Equal steps, differences by step, differences of type alone."""
    site, password = site_of(transcript, Pace(scale=0.01, import_s=0.3, status_round_s=0))
    equal, differences, types = 0, [], []
    with Sandbox(site) as sandbox:
        client = Client(sandbox, password)
        for index, step in enumerate(transcript["steps"]):
            if "host_action" in step:
                host_action(site, step["host_action"])
                continue
            found = compare(client, transcript, index, step)
            equal += not found.differences
            differences += [
                f"[{index}] {found.request} as {step['as']}: {text}" for text in found.differences
            ]
            types += found.type_differences
    return equal, differences, types


def compare(client: Client, transcript: dict[str, Any], index: int, step: dict[str, Any]) -> Comparison:
    comparison = Comparison(transcript["volatile"])
    if step.get("note") == "awaited first":
        client.await_task(client.fill(step["path"]).split("/")[4])
    answer = client.send(index, step)
    comparison.step(step, answer.status, answer.reason, answer.body)
    upid = (answer.body or {}).get("data") if isinstance(answer.body, dict) else None
    if "task" in step and isinstance(upid, str) and upid.startswith("UPID"):
        comparison.task(step["task"], *client.await_task(upid))
    return comparison


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_conversation_is_equal(file: Path, record_property: Any) -> None:
    transcript = json.loads(file.read_text())
    equal, differences, types = replay(transcript)
    record_property("equal_steps", equal)
    record_property("type_differences", len(types))
    assert differences == []
