"""Fixtures of the checks: the host, what is expected of it, and evidence that is gathered once."""

from __future__ import annotations

import secrets

import pytest
from testinfra.host import Host

from localai_deploy.domain import paths
from localai_deploy.verifier.checking import EVENTS, EVIDENCE, Evidence
from localai_deploy.verifier.events import CheckProgress
from localai_deploy.verifier.evidence import EndpointAnswers, GatewayAnswers, HostState, ModelDigests
from localai_deploy.verifier.expectations import Expected, connect_address
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
        "host": expected.connect_address,
        "port": expected.port,
        "health_path": expected.health_path,
        "api_key_file": paths.API_KEY_FILE,
        "alias": expected.alias,
        "questions": QUESTIONS,
        "answer_timeout_s": ANSWER_TIMEOUT_S,
    }
    return EndpointAnswers.from_data(target.probe("endpoint", request))


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


@pytest.fixture
def evidence(request: pytest.FixtureRequest) -> Evidence:
    """What the check leaves in the report."""
    found: Evidence = request.node.stash[EVIDENCE]
    return found
