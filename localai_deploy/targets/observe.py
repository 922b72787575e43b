"""Look at a host: one script, one round trip, as root where that can be had."""

from __future__ import annotations

from pathlib import Path

from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.facts_parser import parse_facts
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import Executor

OBSERVE_TIMEOUT_S = 60
_SCRIPT = Path(__file__).with_name("observe.sh")


def observe(executor: Executor) -> HostFacts:
    """Facts of the host; without sudo rights it is looked at as the user (``is_root`` is false).

    :raises LocalaiError: ``host-*``, ``ssh-*``, ``sudo-password-needed``, ``sudo-password-wrong``.
    """
    script = _SCRIPT.read_bytes()
    try:
        done = executor.run(["sh", "-s"], stdin=script, sudo=True, timeout_s=OBSERVE_TIMEOUT_S)
    except LocalaiError as error:
        if error.error_id != "sudo-missing":
            raise
        done = executor.run(["sh", "-s"], stdin=script, timeout_s=OBSERVE_TIMEOUT_S)
    printed = done.stdout or done.stderr
    return parse_facts(printed.decode("utf-8", "replace"))
