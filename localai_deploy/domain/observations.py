"""What of each step is already on the host: one pure observation per step kind.

The planner turns an observation into an action; a re-run after a crash reads the same observation
to learn how far the unfinished step came. A step kind without an observation cannot be planned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from localai_deploy.domain import paths
from localai_deploy.domain.deployment import Deployment
from localai_deploy.domain.differences import record_changes
from localai_deploy.domain.facts import CorruptRecord, HostFacts
from localai_deploy.domain.lock import LockedPackage
from localai_deploy.domain.plan import Change, StepKind
from localai_deploy.domain.reference import ModelFile
from localai_deploy.domain.units import format_bytes
from localai_deploy.domain.wsl.findings import switches_systemd_on


class State(StrEnum):
    """How far the host is from what a step wants."""

    ABSENT = "absent"
    PARTIAL = "partial"
    DIFFERENT = "different"
    PRESENT = "present"


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one step's part of the host; ``evidence`` is for a person."""

    state: State
    evidence: str
    changes: tuple[Change, ...] = ()


Observe = Callable[[Deployment, HostFacts], Observation]


def observe_step(kind: StepKind, deployment: Deployment, facts: HostFacts) -> Observation:
    """Look up one step's part of the host in its facts.

    :raises KeyError: the step kind has no registered observation.
    """
    return OBSERVATIONS[kind](deployment, facts)


def observe_prepare(deployment: Deployment, facts: HostFacts) -> Observation:
    """Compare the ownership record, and on WSL whether systemd is switched on."""
    seen = _observe_record(deployment, facts)
    if not switches_systemd_on(facts):
        return seen
    change = Change(paths.WSL_CONF, "", "systemd=true under [boot]")
    if seen.state is State.PRESENT:
        return Observation(State.PARTIAL, "systemd is off", (change,))
    return replace(seen, changes=(*seen.changes, change))


def _observe_record(deployment: Deployment, facts: HostFacts) -> Observation:
    record = facts.deployment
    wanted = deployment.record()
    if record is None or isinstance(record, CorruptRecord):
        return Observation(State.ABSENT, "the host is not marked as ours", _what_comes(deployment))
    changes = record_changes(record, wanted)
    if changes:
        return Observation(State.DIFFERENT, f"{len(changes)} value(s) of the deployment differ", changes)
    if paths.PACKAGES_FILE not in facts.files or paths.PACKAGES_BEFORE_FILE in facts.files:
        come = Change("packages", "", paths.PACKAGES_FILE)
        return Observation(State.PARTIAL, "marked as ours, but not what came with us", (come,))
    return Observation(State.PRESENT, "the deployment's record is as wanted")


def _what_comes(deployment: Deployment) -> tuple[Change, ...]:
    spec = deployment.spec
    slots = f"{spec.context_length} tokens, {spec.parallel} slot(s), {spec.gpu_layers} layers on a card"
    return (
        Change("record", "", paths.DEPLOYMENT_FILE),
        Change("model", "", deployment.models[0].reference),
        Change("context", "", slots),
    )


def observe_environment(deployment: Deployment, facts: HostFacts) -> Observation:
    """Compare the prefix's own package records with the lock."""
    installed = {package.name: (package.build, package.sha256) for package in facts.installed_packages}
    wanted = {package.name: package for package in deployment.lock.packages}
    missing = [p for name, p in wanted.items() if installed.get(name) != (p.build, p.sha256)]
    surplus = sorted(set(installed) - set(wanted))
    if not installed:
        return Observation(
            State.ABSENT, f"{deployment.prefix} holds no package", _package_changes(missing, [])
        )
    if missing or surplus:
        return Observation(
            State.PARTIAL,
            f"{len(wanted) - len(missing)} of {len(wanted)} locked packages are installed",
            _package_changes(missing, surplus),
        )
    return Observation(State.PRESENT, f"all {len(wanted)} locked packages are installed")


def observe_runtime(deployment: Deployment, facts: HostFacts) -> Observation:
    """Compare the runtime's acceptance record with the locked server package."""
    record = facts.runtime
    package = deployment.package
    wanted = f"{package.version} {package.build}"
    if record is None or isinstance(record, CorruptRecord):
        return Observation(State.ABSENT, "the runtime was not accepted yet", (Change("build", "", wanted),))
    found = f"{record.get('version', '?')} {record.get('build', '?')}"
    if found != wanted:
        return Observation(State.DIFFERENT, f"accepted was {found}", (Change("build", found, wanted),))
    return Observation(State.PRESENT, f"{package.name} {wanted} was accepted")


def observe_models(deployment: Deployment, facts: HostFacts) -> Observation:
    """Compare the store with the wanted files."""
    seen = [_observe_model(model, facts) for model in deployment.models]
    changes = tuple(change for one in seen for change in one.changes)
    evidence = "; ".join(one.evidence for one in seen)
    states = {one.state for one in seen}
    if states == {State.PRESENT}:
        return _observe_sources(deployment, facts) or Observation(State.PRESENT, evidence)
    if states == {State.ABSENT}:
        return Observation(State.ABSENT, evidence, changes)
    return Observation(State.DIFFERENT if State.DIFFERENT in states else State.PARTIAL, evidence, changes)


def _observe_sources(deployment: Deployment, facts: HostFacts) -> Observation | None:
    """Models whose records name another mirror than is set now: they are recorded anew, not fetched."""
    pairs = [(model, facts.model(model.file_name)) for model in deployment.models]
    changes = tuple(
        Change(f"{model.file_name} recorded from", fact.url, model.url)
        for model, fact in pairs
        if fact and fact.url and model.url and fact.url != model.url
    )
    evidence = "the files are there, their records name another source"
    return Observation(State.PARTIAL, evidence, changes) if changes else None


def _observe_model(model: ModelFile, facts: HostFacts) -> Observation:
    name, total = model.file_name, format_bytes(model.size_bytes) if model.size_bytes else "unknown size"
    wanted = f"{total}, sha256 {model.sha256[:12] or 'of the first download'}"
    fact = facts.model(name)
    if fact is None or (not fact.size_bytes and not fact.partial_bytes):
        return Observation(State.ABSENT, f"{name} is not there", (Change(name, "", wanted),))
    if not fact.size_bytes:
        part = f"{format_bytes(fact.partial_bytes)} of {total} downloaded"
        return Observation(State.PARTIAL, f"{name}: {part}", (Change(name, part, wanted),))
    if fact.sha256 and fact.sha256 == model.sha256 and model.size_bytes in {0, fact.size_bytes}:
        return Observation(State.PRESENT, f"{name} is there, sha256 {fact.sha256[:12]}")
    before = f"{format_bytes(fact.size_bytes)}, sha256 {fact.sha256[:12] or 'unrecorded'}"
    return Observation(State.DIFFERENT, f"{name} is another file", (Change(name, before, wanted),))


def observe_service(deployment: Deployment, facts: HostFacts) -> Observation:
    """Look at the unit, its files and whether it runs from the environment's prefix."""
    unit_file = f"/etc/systemd/system/{deployment.service_name}.service"
    missing = [path for path in (unit_file, paths.API_KEY_FILE) if path not in facts.files]
    unit = facts.unit
    if len(missing) == 2 and unit.load_state == "not-found":
        return Observation(
            State.ABSENT,
            f"no unit {deployment.service_name}",
            (Change("service", "", f"{deployment.service_name} on {deployment.endpoint}"),),
        )
    if missing:
        return Observation(
            State.PARTIAL,
            f"missing: {', '.join(missing)}",
            tuple(Change(path, "", "restored") for path in missing),
        )
    if not unit.running:
        state = f"{unit.active_state} ({unit.sub_state})"
        return Observation(State.PARTIAL, f"the unit is {state}", (Change("service", state, "active"),))
    if unit.exec_path and not unit.exec_path.startswith(_places(deployment)):
        return Observation(
            State.DIFFERENT,
            f"the service runs {unit.exec_path}",
            (Change("executable", unit.exec_path, deployment.command[0]),),
        )
    restarts = _reasons_to_restart(deployment, facts)
    if restarts:
        return Observation(State.DIFFERENT, "the service restarts", restarts)
    return Observation(State.PRESENT, f"{deployment.service_name} is running")


def _places(deployment: Deployment) -> tuple[str, ...]:
    """Where the server's program may lie: of an archive's, the kernel tells the folder behind the prefix."""
    archives = (f"{paths.archives_dir(deployment.spec.runtime)}/",) if deployment.lock.from_archives else ()
    return (f"{deployment.prefix}/", *archives)


def _reasons_to_restart(deployment: Deployment, facts: HostFacts) -> tuple[Change, ...]:
    running = [_credential_masked(word) for word in facts.unit.command]
    command = record_changes({"command": running}, {"command": list(deployment.command)})
    served = _observe_model(deployment.models[0], facts)
    package = observe_environment(deployment, facts)
    return (*command, *served.changes, *package.changes)


def _credential_masked(word: str) -> str:
    """The path that systemd gives the credential stands for ``{api_key_file}`` of the plan."""
    return "{api_key_file}" if word.endswith("/api-key") else word


def observe_gateway(deployment: Deployment, facts: HostFacts) -> Observation:
    """Compare what is recorded of the gateway, and look whether it runs."""
    unit, gateway = facts.gateway, deployment.spec.gateway
    wanted = gateway.record() if gateway else {}
    if unit is None:
        served = ", ".join(gateway.models) if gateway else ""
        return Observation(State.ABSENT, "no gateway", (Change("gateway", "", served),))
    record = facts.deployment if isinstance(facts.deployment, Mapping) else {}
    changes = record_changes({"gateway": record.get("gateway") or {}}, {"gateway": wanted})
    if changes:
        return Observation(State.DIFFERENT, f"{len(changes)} value(s) of the gateway differ", changes)
    if not unit.running:
        state = f"{unit.active_state} ({unit.sub_state})"
        change = Change("gateway", state, "active")
        return Observation(State.PARTIAL, f"the gateway's unit is {state}", (change,))
    return Observation(State.PRESENT, f"{paths.GATEWAY_SERVICE} is running")


def observe_verification(deployment: Deployment, facts: HostFacts) -> Observation:
    """Verification leaves nothing on the host: it is always done anew."""
    del deployment, facts
    return Observation(State.PRESENT, "nothing is kept on the host")


def observe_driver(deployment: Deployment, facts: HostFacts) -> Observation:
    """Compare what our role wrote down of the driver, and the module that is loaded."""
    driver = deployment.spec.driver
    if driver is None or not driver.packages:
        return Observation(State.PRESENT, f"driver {facts.nvidia.module_version} is left as it is")
    offer, record = driver.choice.offer, facts.driver
    wanted = f"{offer.version} ({offer.source}), {offer.modules} kernel modules"
    if not isinstance(record, Mapping):
        return Observation(State.ABSENT, "; ".join(driver.choice.reasons), (Change("driver", "", wanted),))
    found = f"{record.get('version')} ({record.get('source')}), {record.get('modules')} kernel modules"
    if found != wanted or record.get("packages") != list(driver.packages):
        return Observation(State.DIFFERENT, f"it has {found}", (Change("driver", found, wanted),))
    loaded = facts.nvidia.module_version
    if loaded != str(offer.version):
        change = Change("loaded module", loaded, str(offer.version))
        return Observation(State.PARTIAL, f"{loaded or 'no module'} is loaded", (change,))
    return Observation(State.PRESENT, f"driver {wanted} is loaded")


OBSERVATIONS: Mapping[StepKind, Observe] = {
    StepKind.PREPARE: observe_prepare,
    StepKind.DRIVER: observe_driver,
    StepKind.ENVIRONMENT: observe_environment,
    StepKind.RUNTIME: observe_runtime,
    StepKind.MODELS: observe_models,
    StepKind.SERVICE: observe_service,
    StepKind.GATEWAY: observe_gateway,
    StepKind.VERIFY: observe_verification,
}


def _package_changes(missing: list[LockedPackage], surplus: list[str]) -> tuple[Change, ...]:
    sizes = [f" ({format_bytes(p.size_bytes)})" if p.size_bytes else "" for p in missing]
    added = [
        Change(p.name, "", f"{p.version} {p.build}{size}") for p, size in zip(missing, sizes, strict=True)
    ]
    return (*added, *(Change(name, "installed", "") for name in surplus))
