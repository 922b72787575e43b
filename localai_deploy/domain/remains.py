"""What of each step is still on a host, by its facts alone: a removal needs no deployment to compare with.

After a removal that was cut off, the next run reads here how far it came. A step kind that changes hosts
and has no entry cannot be taken away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from localai_deploy.domain import paths
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.observations import Observation, State
from localai_deploy.domain.plan import StepKind
from localai_deploy.domain.units import format_bytes

Remain = Callable[[HostFacts], Observation]


def observe_remains(kind: StepKind, facts: HostFacts) -> Observation:
    """Look up what of one step is still there.

    :raises KeyError: the step kind has no registered observation.
    """
    return REMAINS[kind](facts)


def anything_of_ours(facts: HostFacts, *, models_too: bool) -> bool:
    """Whether any step left something on the host; models may stay when they are kept on purpose."""
    states = {kind: remain(facts).state for kind, remain in REMAINS.items()}
    kept = {StepKind.MODELS} if not models_too and not _managed(facts, paths.LIBRARY_DIR) else set()
    return any(state is not State.ABSENT for kind, state in states.items() if kind not in kept)


def _service(facts: HostFacts) -> Observation:
    files = [*_managed(facts, "/etc/systemd/system"), *_managed(facts, paths.API_KEY_FILE)]
    if facts.unit.load_state == "not-found" and not files:
        return Observation(State.ABSENT, "neither unit nor API key")
    unit = f"the unit is {facts.unit.active_state}" if facts.unit.load_state != "not-found" else "no unit"
    return Observation(State.PARTIAL, f"{unit}, {_count(files)}")


def _gateway(facts: HostFacts) -> Observation:
    if facts.gateway is None:
        return Observation(State.ABSENT, "no gateway")
    return Observation(State.PARTIAL, f"the gateway's unit is {facts.gateway.active_state}")


def _models(facts: HostFacts) -> Observation:
    size = format_bytes(sum(model.size_bytes or model.partial_bytes for model in facts.models))
    programs = _managed(facts, paths.LIBRARY_DIR)
    if not facts.models and not programs:
        return Observation(State.ABSENT, "neither models nor the pull program")
    tail = "the pull program" if programs else "no pull program"
    return Observation(State.PARTIAL, f"{len(facts.models)} model file(s) ({size}), {tail}")


def _runtime(facts: HostFacts) -> Observation:
    if facts.runtime is None:
        return Observation(State.ABSENT, "no record of an accepted runtime")
    return Observation(State.PARTIAL, "the record of the accepted runtime")


def _environment(facts: HostFacts) -> Observation:
    if not facts.installed_packages and facts.lock is None:
        return Observation(State.ABSENT, "neither conda packages nor a lock")
    lock = "the lock" if facts.lock is not None else "no lock"
    return Observation(State.PARTIAL, f"{len(facts.installed_packages)} conda package(s), {lock}")


def _driver(facts: HostFacts) -> Observation:
    if facts.driver is None:
        return Observation(State.ABSENT, "no driver of ours")
    return Observation(State.PARTIAL, "the record of the card's driver")


def _prepare(facts: HostFacts) -> Observation:
    records = [
        path
        for path in _managed(facts, f"{paths.CONFIG_DIR}/")
        if path in {paths.DEPLOYMENT_FILE, paths.PACKAGES_FILE, paths.PACKAGES_BEFORE_FILE, paths.WSL_FILE}
    ]
    if not records and facts.deployment is None:
        return Observation(State.ABSENT, "the host is not marked as ours")
    return Observation(State.PARTIAL, f"our mark, {_count(records)}")


def _managed(facts: HostFacts, prefix: str) -> list[str]:
    return sorted(path for path in facts.files if path.startswith(prefix))


def _count(files: list[str]) -> str:
    return f"{len(files)} file(s) of it"


REMAINS: Mapping[StepKind, Remain] = {
    StepKind.PREPARE: _prepare,
    StepKind.DRIVER: _driver,
    StepKind.ENVIRONMENT: _environment,
    StepKind.RUNTIME: _runtime,
    StepKind.MODELS: _models,
    StepKind.SERVICE: _service,
    StepKind.GATEWAY: _gateway,
}
