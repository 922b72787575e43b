"""The gateway: who is let in, what it serves, and that a replica answers through it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from localai_deploy.domain import paths
from localai_deploy.domain.gateway import Gateway
from localai_deploy.verifier.checking import Evidence, check, expect_none, fail
from localai_deploy.verifier.evidence import GatewayAnswers, KeyFile
from localai_deploy.verifier.expectations import Expected
from localai_deploy.verifier.questions import GATEWAY_MUST_BE_ABSENT, GATEWAY_MUST_REFUSE, name_of

REFUSED = 401
ABSENT = 404
DONE = 200
SHORTEST_KEY = 32


@check("gateway-key", "the gateway serves inference alone, and that to nobody without its key")
def test_gateway_key(gateway: GatewayAnswers, evidence: Evidence) -> None:
    reachable(gateway)
    evidence.update(health_status=gateway.health_status, without_key=dict(gateway.without_key))
    expect_none(
        [
            *access_problems("without a key", gateway.without_key),
            *access_problems("with a wrong key", gateway.wrong_key),
            *key_problems(gateway.key_file, gateway.replica_keys_mode),
        ]
    )


def access_problems(how: str, answers: Mapping[str, int]) -> Iterator[str]:
    """Paths that answer otherwise than they must."""
    wanted = dict.fromkeys(GATEWAY_MUST_REFUSE, REFUSED) | dict.fromkeys(GATEWAY_MUST_BE_ABSENT, ABSENT)
    for question, status in wanted.items():
        seen = answers.get(name_of(question), 0)
        if seen != status:
            yield f"{name_of(question)} gives {seen or 'no answer'} {how}, not {status}"


def key_problems(key_file: KeyFile | None, replica_keys_mode: str) -> Iterator[str]:
    """Whether others than root could read the keys, or guess one."""
    if key_file is None:
        yield f"{paths.GATEWAY_API_KEY_FILE} is not there"
    elif (key_file.uid, key_file.gid, key_file.mode) != (0, 0, "0600"):
        yield f"{paths.GATEWAY_API_KEY_FILE} is not root's alone (mode {key_file.mode})"
    elif key_file.shortest_key < SHORTEST_KEY:
        yield f"a key has {key_file.shortest_key} characters; at least {SHORTEST_KEY} are needed"
    if replica_keys_mode != "0600":
        yield f"{paths.GATEWAY_REPLICA_KEYS_FILE} has mode {replica_keys_mode or '(absent)'}, not 0600"


@check("gateway-models", "the gateway lists the replicas' models")
def test_gateway_models(gateway: GatewayAnswers, expected: Expected, evidence: Evidence) -> None:
    reachable(gateway)
    evidence.update(status=gateway.models["status"], names=gateway.models["names"])
    expect_none(model_problems(gateway, expected.gateway))


def model_problems(answers: GatewayAnswers, wanted: Gateway | None) -> Iterator[str]:
    """Models that are missing or too many."""
    names = list(wanted.models) if wanted else []
    if answers.models["names"] != names:
        yield f"it lists {answers.models['names']}, not {names} (status {answers.models['status']})"


@check("gateway-completion", "a replica answers through the gateway, and the answer names it")
def test_gateway_completion(gateway: GatewayAnswers, expected: Expected, evidence: Evidence) -> None:
    reachable(gateway)
    evidence["completions"] = [dict(one) for one in gateway.completions]
    expect_none(completion_problems(gateway, expected.gateway))


def completion_problems(answers: GatewayAnswers, wanted: Gateway | None) -> Iterator[str]:
    """Models without an answer, and answers of nobody that is known."""
    replicas = wanted.replicas if wanted else ()
    for one in answers.completions:
        known = {replica.name for replica in replicas if replica.model == one["model"]}
        if one["status"] != DONE:
            yield f"{one['model']}: {one['status'] or 'no answer'} {one['error']}"
        elif not one["text"].strip():
            yield f"{one['model']}: the answer is empty"
        elif one["replica"] not in known:
            yield f"{one['model']}: the answer names {one['replica'] or 'nobody'}, none of {sorted(known)}"
    if not answers.completions:
        yield "no model was asked"


def reachable(answers: GatewayAnswers) -> None:
    """Fail when the gateway gave no answer at all."""
    if answers.error:
        fail(f"the gateway does not answer: {answers.error}")
