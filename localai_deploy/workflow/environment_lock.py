"""Which packages a host's environment is to hold: named, recorded or solved."""

from __future__ import annotations

from localai_deploy.domain.archives import archive_lock, parse_archives
from localai_deploy.domain.facts import CorruptRecord, HostFacts
from localai_deploy.domain.lock import EnvironmentLock
from localai_deploy.domain.preflight import PLATFORMS
from localai_deploy.domain.spec import Choices, HostSpec
from localai_deploy.runtimes import runtime_named
from localai_deploy.workflow.telling import Say


def environment_lock(spec: HostSpec, facts: HostFacts, choices: Choices, say: Say) -> EnvironmentLock:
    """Of the archives that are named for the variant, else of a conda channel's packages.

    Those are as the host records them; solved anew if an update is asked for or they are of another kind.
    """
    runtime = runtime_named(spec.runtime)
    platform = PLATFORMS.get(facts.architecture, "linux-64")
    if named := spec.archives.get(spec.variant):
        return archive_lock(
            parse_archives(named), package=runtime.package, variant=spec.variant, platform=platform
        )
    recorded = _recorded_lock(facts)
    if recorded and not choices.update and _fits(recorded, spec):
        return recorded
    from localai_deploy.runtimes.solver import solve_environment

    say(f"{spec.name}: solving {runtime.package} ({spec.variant}) from {spec.channel_url}")
    return solve_environment(
        channel=spec.conda_channel,
        channel_url=spec.channel_url,
        match_spec=runtime.match_spec(spec.variant),
        variant=spec.variant,
        platform=platform,
        libc_version=facts.libc_version,
        cuda=spec.driver.choice.cuda if spec.driver else None,
    )


def _fits(lock: EnvironmentLock, spec: HostSpec) -> bool:
    return lock.variant == spec.variant and lock.channel == spec.conda_channel


def _recorded_lock(facts: HostFacts) -> EnvironmentLock | None:
    if facts.lock is None or isinstance(facts.lock, CorruptRecord):
        return None
    try:
        return EnvironmentLock.from_data(facts.lock)
    except (KeyError, TypeError):
        return None
