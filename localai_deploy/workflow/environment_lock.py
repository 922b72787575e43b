"""Which packages a host's environment is to hold: named, recorded or solved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from localai_deploy.domain.archives import archive_lock, parse_archives
from localai_deploy.domain.facts import CorruptRecord, HostFacts
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.mirrors import Mirrors
from localai_deploy.domain.preflight import PLATFORMS
from localai_deploy.domain.spec import Choices, HostSpec
from localai_deploy.errors import LocalaiError
from localai_deploy.runtimes import runtime_named
from localai_deploy.workflow.telling import Say


def environment_lock(spec: HostSpec, facts: HostFacts, choices: Choices, say: Say) -> EnvironmentLock:
    """Of the archives that are named for the variant, else of a conda channel's packages.

    Those are as the host records them; solved anew if an update is asked for or they are of another kind.

    :raises LocalaiError: ``archive-unreachable``, or as the solver does.
    """
    runtime = runtime_named(spec.runtime)
    platform = PLATFORMS.get(facts.architecture, "linux-64")
    recorded = _recorded_lock(facts)
    if named := spec.archives.get(spec.variant):
        lock = archive_lock(
            parse_archives(named), package=runtime.package, variant=spec.variant, platform=platform
        )
        if recorded and recorded.digest == lock.digest:
            return recorded
        key = ("archives", lock, spec.mirrors.github)
        return choices.answers.of(key, lambda: _with_sizes(lock, spec.mirrors))
    if recorded and not choices.update and _fits(recorded, spec):
        return recorded
    from localai_deploy.runtimes.solver import solve_environment

    wanted: dict[str, Any] = {
        "channel": spec.conda_channel,
        "channel_url": spec.channel_url,
        "match_spec": runtime.match_spec(spec.variant),
        "variant": spec.variant,
        "platform": platform,
        "libc_version": facts.libc_version,
        "cuda": spec.driver.choice.cuda if spec.driver else None,
    }

    def solve() -> EnvironmentLock:
        say(f"{spec.name}: solving {runtime.package} ({spec.variant}) from {spec.channel_url}")
        return solve_environment(**wanted)

    return choices.answers.of(("lock", *wanted.values()), solve)


def _with_sizes(lock: EnvironmentLock, mirrors: Mirrors) -> EnvironmentLock:
    """The same archives with the sizes that their server tells."""
    return replace(
        lock,
        packages=tuple(
            replace(one, size_bytes=_archive_size(mirrors.github_url(one.url))) for one in lock.packages
        ),
    )


def _archive_size(url: str) -> int:
    from localai_deploy.hub.web import content_length

    try:
        return content_length(url)
    except LocalaiError as error:
        raise LocalaiError(
            "archive-unreachable",
            f"the archive {url} cannot be had",
            why=error.why or error.what,
            hint="correct localai_runtime_archives, or set localai_mirrors.github",
        ) from error


def _fits(lock: EnvironmentLock, spec: HostSpec) -> bool:
    return lock.variant == spec.variant and lock.channel == spec.conda_channel


def _recorded_lock(facts: HostFacts) -> EnvironmentLock | None:
    if facts.lock is None or isinstance(facts.lock, CorruptRecord):
        return None
    try:
        return EnvironmentLock.from_data(facts.lock)
    except (KeyError, TypeError):
        return None
