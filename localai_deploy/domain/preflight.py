"""What speaks against a deployment on a host, from facts alone: nothing is changed while one blocks."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator

from localai_deploy.domain import paths
from localai_deploy.domain.deployment import Deployment, is_our_record
from localai_deploy.domain.facts import CorruptRecord, HostFacts
from localai_deploy.domain.gateway import out_of_reach
from localai_deploy.domain.plan import Finding, Severity
from localai_deploy.domain.spec import HostSpec
from localai_deploy.domain.units import format_bytes
from localai_deploy.domain.wsl.findings import tells_of_systemd, wsl_findings

SUPPORTED_SYSTEMS = {"debian": ("12", "13"), "ubuntu": ("22.04", "24.04")}
PLATFORMS = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}
UNPACKED_RATIO = 4
"""An unpacked conda environment is at most about four times its archives (measured on CUDA packages)."""
RESERVE = 1.10
"""Free space beyond a download, so that a full disk does not stop the host (pitfall pull-corrupt)."""
SCRATCH_BYTES = {"/etc": 1 << 20, "/tmp": 32 << 20, "/usr": 64 << 20, "/var": 64 << 20}  # noqa: S108 - looked at
"""Room for Debian packages, records and Ansible's own modules: a rule of thumb."""


def preflight(spec: HostSpec, facts: HostFacts) -> tuple[Finding, ...]:
    """Findings that need no look at packages or models."""
    return tuple(finding for check in _HOST_CHECKS for finding in check(spec, facts))


def _blocker(finding_id: str, what: str, why: str = "", hint: str = "") -> Finding:
    return Finding(finding_id, Severity.BLOCKER, what, why, hint)


def _warning(finding_id: str, what: str, why: str = "", hint: str = "") -> Finding:
    return Finding(finding_id, Severity.WARNING, what, why, hint)


def _system(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    if facts.os_version not in SUPPORTED_SYSTEMS.get(facts.os_id, ()):
        yield _blocker(
            "os-unsupported",
            f"{spec.name} runs {facts.os_pretty_name or 'an unknown system'}",
            "supported are Debian 12 and 13, Ubuntu 22.04 and 24.04",
        )
    if facts.architecture not in PLATFORMS:
        yield _blocker("architecture-unsupported", f"{spec.name} is a {facts.architecture} machine")
    if not facts.systemd_running and not tells_of_systemd(facts):
        yield _blocker(
            "systemd-missing",
            f"systemd does not run on {spec.name}",
            "the service is a systemd unit",
            "sudo apt install systemd-sysv, and boot with it; a container without it cannot serve",
        )
    if not facts.python_version:
        yield _blocker(
            "python-missing", f"{spec.name} has no python3", "Ansible needs it", "sudo apt install python3"
        )


def _privileges(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    if not facts.is_root:
        yield _blocker(
            "sudo-missing",
            f"{spec.connection.display} cannot become root on {spec.name}",
            hint="give the user sudo rights, or log in as root; with a password: --ask-become-pass",
        )


def _ownership(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    record = facts.deployment
    if isinstance(record, CorruptRecord) or (record is not None and not is_our_record(record)):
        why = record.reason if isinstance(record, CorruptRecord) else "its schema is not one of this version"
        yield _blocker(
            "record-unreadable",
            f"{paths.DEPLOYMENT_FILE} on {spec.name} cannot be read",
            why,
            "move it away by hand if the deployment is not wanted any more",
        )


def _port(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    ports = {paths.service_name(spec.runtime): spec.port}
    ports |= {paths.GATEWAY_SERVICE: spec.gateway.port} if spec.gateway else {}
    for service, port in ports.items():
        others = (one for one in facts.listening if one.port == port and one.unit != f"{service}.service")
        if listener := next(others, None):
            owner = listener.unit or listener.process or "a process that cannot be seen"
            yield _blocker(
                "port-taken",
                f"port {port} of {spec.name} is taken",
                f"{owner} listens on {listener.address}:{listener.port}",
                "choose another localai_api_gateway_port, or stop that service"
                if service == paths.GATEWAY_SERVICE
                else "choose another port with --port, or stop that service",
            )


def _other_runtimes(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    for other in facts.runtimes:
        yield _blocker(
            "runtime-present",
            f"{spec.name} already has {other.kind}",
            other.evidence,
            "a host's other runtime is never overwritten: remove it, or choose another host",
        )


def _exposure(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    del facts
    if spec.binds_beyond_loopback and not spec.clients:
        yield _blocker(
            "bind-without-tls",
            f"the API of {spec.name} would listen on {spec.bind} without TLS",
            "key and prompts would cross the network in clear text",
            "leave it on 127.0.0.1 and reach it through `ssh -L` (the report prints the command); "
            "on a network that you trust, name who may reach it: localai_clients",
        )


def _gateway_left(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    if spec.gateway is None and facts.gateway is not None:
        yield _warning(
            "gateway-left",
            f"{spec.name} has a gateway that is not asked for (its unit is {facts.gateway.active_state})",
            f"no inventory is given that has {spec.name} in group gateway; it stays as it is, unchecked",
            "put the host into that group; or `down` takes the gateway away with all else of ours, models "
            "excepted, and `up` brings the host back without it",
        )


def _gateway(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    del facts
    if spec.gateway is None:
        return
    if not ipaddress.ip_address(spec.gateway.bind).is_loopback and not spec.gateway.clients:
        yield _blocker(
            "bind-without-tls",
            f"the gateway of {spec.name} would listen on {spec.gateway.bind} without TLS",
            "key and prompts would cross the network in clear text",
            "leave it on 127.0.0.1 and reach it through `ssh -L`; on a network that you trust, name who may "
            "reach it: localai_api_gateway_clients",
        )
    for replica in out_of_reach(spec.gateway, spec.name):
        yield _blocker(
            "replica-out-of-reach",
            f"the gateway of {spec.name} cannot reach {replica.name}",
            f"{replica.name} listens on {replica.address}",
            f"for {replica.name} set localai_bind to its address on the network that both are on, and "
            f"localai_clients to the address of {spec.name} there",
        )


def _mirrors(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    del facts
    for name in spec.mirrors.unauthenticated():
        yield _warning(
            "mirror-unauthenticated",
            f"mirror {name} is reached over plain http",
            "hashes that are looked up there are only as good as the network in between",
        )


def _package_lock(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    if facts.apt_locked:
        yield _warning(
            "apt-lock", f"apt or dpkg is busy on {spec.name}", "it is waited for, up to five minutes"
        )
    elif facts.packages_broken:
        yield _blocker(
            "packages-broken",
            f"packages of {spec.name} are half installed",
            facts.packages_broken,
            "sudo dpkg --configure -a, then sudo apt-get --fix-broken install",
        )


def _scratch(spec: HostSpec, facts: HostFacts) -> Iterator[Finding]:
    for path, need in SCRATCH_BYTES.items():
        free = facts.free_bytes.get(path)
        if free is not None and free < need:
            yield _blocker(
                "no-space",
                f"{path} on {spec.name} has {format_bytes(free)} free",
                f"{format_bytes(need)} are needed there for packages, records and Ansible's work",
                "make room there",
            )


_HOST_CHECKS: tuple[Callable[[HostSpec, HostFacts], Iterator[Finding]], ...] = (
    _system,
    _privileges,
    _ownership,
    _port,
    _other_runtimes,
    _exposure,
    _gateway,
    _gateway_left,
    _mirrors,
    _package_lock,
    _scratch,
    wsl_findings,
)


def disk_findings(deployment: Deployment, facts: HostFacts) -> Iterator[Finding]:
    """Whether the disk suffices for what is still to come."""
    installed = {package.sha256 for package in facts.installed_packages}
    packages = sum(p.size_bytes for p in deployment.lock.packages if p.sha256 not in installed)
    needs = {
        paths.PREFIX_DIR: int(packages * (1 + UNPACKED_RATIO)),
        paths.STATE_DIR: sum(_missing_bytes(deployment, facts)),
    }
    for path, need in needs.items():
        free = facts.free_bytes.get(path)
        if free is not None and need * RESERVE > free:
            yield _blocker(
                "no-space",
                f"{path} on {deployment.spec.name} has {format_bytes(free)} free",
                f"{format_bytes(int(need * RESERVE))} are needed (10 % reserve included)",
                "make room, or mount a larger disk there",
            )


def _missing_bytes(deployment: Deployment, facts: HostFacts) -> Iterator[int]:
    for model in deployment.models:
        fact = facts.model(model.file_name)
        if fact is None:
            yield model.size_bytes
        elif not (fact.size_bytes and fact.sha256 == model.sha256):
            yield max(model.size_bytes - fact.partial_bytes, 0)


def memory_findings(deployment: Deployment, facts: HostFacts) -> Iterator[Finding]:
    """Whether the served file alone is larger than the memory."""
    served = deployment.models[0]
    if served.size_bytes > facts.memory_bytes > 0:
        yield _warning(
            "memory-short",
            f"{served.file_name} ({format_bytes(served.size_bytes)}) is larger than the memory of "
            f"{deployment.spec.name} ({format_bytes(facts.memory_bytes)})",
            "it will be read from disk for every token",
            "choose a smaller quantisation or model",
        )
