"""llama-server itself: its build, and the context that its slots really have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from localai_deploy.domain.fit.server_log import ServerMemory, server_memory
from localai_deploy.verifier.checking import Evidence, check, expect_none, fail
from localai_deploy.verifier.checks.test_endpoint import reachable
from localai_deploy.verifier.evidence import EndpointAnswers, HostState
from localai_deploy.verifier.expectations import Expected

CONTEXT_BLOCK = 256

_PROGRAM = re.compile(r"^version: (?:(\d+\.\d+\.\d+) \(build )?(\d+)\b", re.MULTILINE)
_SERVER = re.compile(r"b(\d+)(?:-|$)")


@dataclass(frozen=True, slots=True)
class Build:
    """What ``llama-server --version`` says; ``release`` is empty where builds are only numbered."""

    release: str
    number: int


@check("runtime-build", "the server is the locked build, with the planned context in every slot")
def test_runtime_build(
    state: HostState, endpoint: EndpointAnswers, expected: Expected, evidence: Evidence
) -> None:
    evidence["version"] = state.version.output.strip().splitlines()[:1]
    reachable(endpoint)
    evidence["build_info"] = endpoint.props.get("build_info")
    evidence["slots"] = endpoint.slots["context_lengths"]
    expect_none([*build_problems(state, endpoint, expected), *slot_problems(endpoint, expected)])


def build_problems(state: HostState, endpoint: EndpointAnswers, expected: Expected) -> Iterator[str]:
    """Whether the program on disk is the locked version, and the running server the program on disk."""
    program = parse_version(state.version.output)
    served = _SERVER.match(str(endpoint.props.get("build_info")))
    if state.version.returncode != 0 or program is None:
        yield f"{expected.command[0]} --version tells no build (exit status {state.version.returncode})"
        return
    name, version, _ = expected.runtime_package
    if not is_of_version(program, version):
        yield f"the program is {program.release or 'build'} {program.number}, not of {name} {version}"
    if served is None or int(served.group(1)) != program.number:
        yield f"the server says {endpoint.props.get('build_info')!r}, its program is build {program.number}"


def parse_version(output: str) -> Build | None:
    """Read ``version: 0.7.0 (build 11669, commit x)`` or ``version: 6872 (x)``."""
    found = _PROGRAM.search(output)
    return Build(found.group(1) or "", int(found.group(2))) if found else None


def is_of_version(build: Build, package_version: str) -> bool:
    """Whether a package's version names the build: by its release, or by its number (``0.0.6872``)."""
    return package_version == build.release or package_version.rpartition(".")[2] == str(build.number)


def slot_problems(endpoint: EndpointAnswers, expected: Expected) -> Iterator[str]:
    """Whether there are as many slots as planned, each with its share of the context, rounded up."""
    share = expected.context_length // expected.parallel
    lengths = endpoint.slots["context_lengths"]
    if len(lengths) != expected.parallel or not all(has_share(length, share) for length in lengths):
        yield f"the slots' context lengths are {lengths}, not {expected.parallel} of {share}"
    if endpoint.props.get("total_slots") != expected.parallel:
        yield f"the server has {endpoint.props.get('total_slots')} slots, not {expected.parallel}"


def has_share(length: object, share: int) -> bool:
    """Whether a slot has ``share`` tokens of context, up to the next full block."""
    return isinstance(length, int) and share <= length < share + CONTEXT_BLOCK


@check("offload", "as many layers are on cards as planned, by the server's own log")
def test_offload(state: HostState, expected: Expected, evidence: Evidence) -> None:
    if state.process is None:
        fail("the service has no main process")
    memory = server_memory(state.server_log)
    evidence.update(planned=expected.gpu_layers, memory=memory.to_data() if memory.is_known else None)
    expect_none(offload_problems(memory, expected.gpu_layers))


def offload_problems(memory: ServerMemory, planned: int) -> Iterator[str]:
    """Whether the layers are where they were planned; a build without GPU support tells of none.

    :param planned: layers; more than the model has mean all of them.
    """
    holding = [name for name, card in memory.cards.items() if card.weights_bytes]
    if memory.offloaded is None:
        if planned:
            yield f"{planned} layers are planned on cards, and the server tells of none there"
    elif memory.offloaded[0] != min(planned, memory.offloaded[1]):
        there, layers = memory.offloaded
        yield f"{there} of {layers} layers are on cards, not {min(planned, layers)}"
    if planned and not holding:
        yield "no card holds weights"
    if not planned and holding:
        yield f"{', '.join(holding)} holds weights, and no layer is planned there"
