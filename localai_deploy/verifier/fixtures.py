"""Fixtures of the checks: the host, what is expected of it, and evidence that is gathered once."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from testinfra.host import Host

from localai_deploy.domain import paths
from localai_deploy.verifier.checking import EVENTS, EVIDENCE, Evidence, skip
from localai_deploy.verifier.events import CheckProgress
from localai_deploy.verifier.evidence import EndpointAnswers, GatewayAnswers, HostState, ModelDigests
from localai_deploy.verifier.expectations import Expected, connect_address
from localai_deploy.verifier.gpu_evidence import GpuState, GpuWork
from localai_deploy.verifier.measures import LEAST_REPEATS
from localai_deploy.verifier.questions import (
    GATEWAY_HEALTH_PATH,
    GATEWAY_MUST_BE_ABSENT,
    GATEWAY_MUST_REFUSE,
    QUESTIONS,
)
from localai_deploy.verifier.target import Target

ANSWER_TIMEOUT_S = 900
"""For one completion of 48 tokens; a large model on a slow CPU takes minutes."""
DIGEST_WAIT_S = 5
IDLE_S, BUSY_S = 3.0, 3.0
"""Spans of which the energy is compared; a counter moves every 20 to 100 ms."""
BENCH_PROMPT_TOKENS, BENCH_GENERATED_TOKENS = 512, 128
BENCH_WINDOW_S = 30.0
"""Of each energy figure; a shorter one stands on too few moves of the counter."""
WSL_LIBRARIES = "/usr/lib/wsl/lib"
NVML = [f"{WSL_LIBRARIES}/libnvidia-ml.so.1", "libnvidia-ml.so.1"]
LIBCUDA = [f"{WSL_LIBRARIES}/libcuda.so.1", "libcuda.so.1"]


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Target:
    """The host under check."""
    return Target(request.param)


@pytest.fixture(scope="session")
def host(target: Target) -> Host:
    """The host for testinfra's modules; each question to it is a round trip."""
    return target.host


@pytest.fixture(scope="session")
def expected(target: Target) -> Expected:
    """What the inventory expects of the host."""
    return target.expected


@pytest.fixture(scope="session")
def devices(expected: Expected) -> tuple[str, ...]:
    """What was passed through to the host; a check that asks for it runs only where something was."""
    return tuple(expected.devices)


@pytest.fixture(scope="session")
def gateway(target: Target, expected: Expected) -> GatewayAnswers:
    """What the gateway answers, completions included: one round trip; only its host has such checks."""
    wanted = expected.gateway
    if wanted is None:
        pytest.fail("the host's record tells of no gateway")
    request = {
        "host": connect_address(wanted.bind),
        "port": wanted.port,
        "health_path": GATEWAY_HEALTH_PATH,
        "api_key_file": paths.GATEWAY_API_KEY_FILE,
        "replica_keys_file": paths.GATEWAY_REPLICA_KEYS_FILE,
        "models": wanted.models,
        "questions": [*GATEWAY_MUST_REFUSE, *GATEWAY_MUST_BE_ABSENT],
        "answer_timeout_s": ANSWER_TIMEOUT_S,
    }
    return GatewayAnswers.from_data(target.probe("gateway", request))


@pytest.fixture(scope="session")
def state(target: Target, expected: Expected) -> HostState:
    """The host's state: one round trip."""
    request = {
        "unit": expected.unit,
        "port": expected.port,
        "prefix": expected.prefix,
        "executable": expected.command[0],
        "store": paths.MODEL_STORE_DIR,
        "deployment_file": paths.DEPLOYMENT_FILE,
        "api_key_file": paths.API_KEY_FILE,
    }
    return HostState.from_data(target.probe("state", request))


@pytest.fixture(scope="session")
def endpoint(target: Target, expected: Expected) -> EndpointAnswers:
    """What the API answers, completion included: one round trip."""
    request = {
        **endpoint_request(expected),
        "health_path": expected.health_path,
        "questions": QUESTIONS,
    }
    return EndpointAnswers.from_data(target.probe("endpoint", request))


@pytest.fixture(scope="session")
def planned_card(expected: Expected) -> tuple[str, ...]:
    """Planned vendors and devices, empty for any card; a check that asks for it runs only where one is."""
    return tuple(expected.devices)


@pytest.fixture(scope="session")
def gpu(target: Target, expected: Expected) -> GpuState:
    """The host's cards, each after a small computation: one round trip; nobody asks where none is planned."""
    if not expected.plans_card:
        skip("no card is planned for this host")
    return GpuState.from_data(target.probe("gpu", {"root": "/", "nvml": NVML, "cuda": LIBCUDA}))


@pytest.fixture(scope="session")
def work(target: Target, expected: Expected) -> GpuWork:
    """The cards idle and then at work, and the service's own log: one round trip."""
    request = {
        **endpoint_request(expected),
        "unit": expected.unit,
        "nvml": NVML,
        "idle_s": IDLE_S,
        "busy_s": BUSY_S,
    }
    return GpuWork.from_data(target.probe("gpu_work", request))


@pytest.fixture(scope="session")
def bench(target: Target, expected: Expected) -> dict[str, Any]:
    """Measures of the running server: one round trip of minutes; only on hosts that are to be measured."""
    slot = expected.context_length // expected.parallel
    request = {
        **endpoint_request(expected),
        "unit": expected.unit,
        "nvml": NVML,
        "prompt_tokens": min(BENCH_PROMPT_TOKENS, slot // 4),
        "generated_tokens": min(BENCH_GENERATED_TOKENS, slot // 4),
        "repeats": LEAST_REPEATS,
        "window_s": BENCH_WINDOW_S,
        "idle_s": BENCH_WINDOW_S,
    }
    return target.probe("bench", request)


@pytest.fixture(scope="session")
def digests(request: pytest.FixtureRequest, target: Target, expected: Expected) -> ModelDigests:
    """Hashes of the models, computed on the host now: one round trip, and one more per 5 s of hashing."""
    events = request.config.stash[EVENTS]
    job = {
        "job": secrets.token_hex(16),
        "files": list(expected.model_paths.values()),
        "wait_s": DIGEST_WAIT_S,
    }
    questions = 1
    answer = target.probe("digest", {**job, "start": True})
    while not answer["finished"]:
        title = "hashing the model"
        events.progress(
            CheckProgress(target.name, "model-hash", title, answer["done_bytes"], answer["total_bytes"])
        )
        answer = target.probe("digest", {**job, "start": False})
        questions += 1
    return ModelDigests(
        answer["sha256"], answer["errors"], answer["total_bytes"], answer["seconds"], questions
    )


def endpoint_request(expected: Expected) -> dict[str, Any]:
    """Where and how a probe asks the API."""
    return {
        "host": expected.connect_address,
        "port": expected.port,
        "api_key_file": paths.API_KEY_FILE,
        "alias": expected.alias,
        "answer_timeout_s": ANSWER_TIMEOUT_S,
    }


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """What the check leaves in the report."""
    found: Evidence = request.node.stash[EVIDENCE]
    return found
