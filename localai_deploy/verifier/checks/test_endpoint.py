"""The API on its address: who listens, who is let in, and what it answers."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from localai_deploy.domain import paths
from localai_deploy.verifier.checking import Evidence, check, expect_none, fail
from localai_deploy.verifier.evidence import (
    EndpointAnswers,
    HostState,
    KeyFile,
    ListeningSocket,
    ProcessState,
)
from localai_deploy.verifier.expectations import Expected
from localai_deploy.verifier.questions import MUST_REFUSE, name_of

SHORTEST_KEY = 32
REFUSED = 401
REFUSALS = {401, 403}
ABSENT = 404
NO_ANSWER = 0


@check("port-bound", "the service listens on the planned address and port, and nowhere else")
def test_port_bound(state: HostState, expected: Expected, evidence: Evidence) -> None:
    evidence["listening"] = [f"{shown(one)} {one.process} ({one.pid})" for one in state.listeners]
    if state.process is None:
        fail("the service has no main process")
    expect_none(listening_problems(state.listeners, state.process, expected))


def listening_problems(
    listeners: tuple[ListeningSocket, ...], process: ProcessState, expected: Expected
) -> Iterator[str]:
    """Sockets that are missing, too many, or another process'."""
    wanted = (ipaddress.ip_address(expected.bind), expected.port)
    own = [one for one in listeners if one.pid == process.pid]
    if wanted not in [(ipaddress.ip_address(one.address), one.port) for one in own]:
        yield f"the service does not listen on {expected.bind} port {expected.port}"
    for one in own:
        if (ipaddress.ip_address(one.address), one.port) != wanted:
            yield f"the service listens on {shown(one)} too"
    for one in listeners:
        address = ipaddress.ip_address(one.address)
        if one.pid != process.pid and (address == wanted[0] or address.is_unspecified):
            yield f"{one.process or 'another process'} ({one.pid}) listens on {shown(one)}"


def shown(listener: ListeningSocket) -> str:
    """``127.0.0.1 port 8080``, which is unambiguous for IPv6 too."""
    return f"{listener.address} port {listener.port}"


@check("key-file", "the API key is root's alone and long enough")
def test_key_file(state: HostState, evidence: Evidence) -> None:
    key_file = state.key_file
    if key_file is None:
        fail(f"{paths.API_KEY_FILE} is not there")
    evidence.update(
        path=paths.API_KEY_FILE, mode=key_file.mode, uid=key_file.uid, characters=key_file.shortest_key
    )
    expect_none([*key_file_problems(key_file), *key_exposures(state)])


def key_file_problems(key_file: KeyFile) -> Iterator[str]:
    """Whether others than root could read the file, or guess what it holds."""
    if not key_file.is_regular:
        yield f"{paths.API_KEY_FILE} is not a regular file"
    if (key_file.uid, key_file.gid) != (0, 0):
        yield f"{paths.API_KEY_FILE} is of {key_file.uid}:{key_file.gid}, not root:root"
    if key_file.mode != "0600":
        yield f"{paths.API_KEY_FILE} has mode {key_file.mode}, not 0600"
    if key_file.shortest_key < SHORTEST_KEY:
        yield f"a key has {key_file.shortest_key} characters; at least {SHORTEST_KEY} are needed"


def key_exposures(state: HostState) -> Iterator[str]:
    """Places that every user of the host can look into."""
    if state.unit_has_key:
        yield "the key stands in the unit, which everyone may read"
    if state.process is not None and state.process.has_key:
        yield "the key stands in the service's arguments or environment"


@check("key-required", "only the listed paths answer without the key")
def test_key_required(endpoint: EndpointAnswers, expected: Expected, evidence: Evidence) -> None:
    reachable(endpoint)
    evidence.update(access_overview(endpoint.without_key, listed_questions(expected)))
    if not endpoint.has_key:
        fail(f"no key can be read from {paths.API_KEY_FILE}, so nothing shows that one is asked for")
    expect_none(
        [
            *access_problems("without a key", endpoint.without_key, expected),
            *access_problems("with a wrong key", endpoint.wrong_key, expected),
            *known_key_problems(endpoint),
        ]
    )


def access_overview(answers: Mapping[str, int], listed: set[str]) -> dict[str, list[str]]:
    """Questions by what became of them; a listed path that leads nowhere is open all the same."""
    found: dict[str, list[str]] = {"open": [], "refused": [], "absent": []}
    for question, status in sorted(answers.items()):
        absent = status == ABSENT and question not in listed
        found["refused" if status in REFUSALS else "absent" if absent else "open"].append(question)
    return found


def listed_questions(expected: Expected) -> set[str]:
    """The paths that the record lists as open."""
    return {f"GET {path}" for path in expected.open_paths}


def access_problems(how: str, answers: Mapping[str, int], expected: Expected) -> Iterator[str]:
    """Paths that answer but must not, and listed ones that do not."""
    listed = listed_questions(expected)
    for question in map(name_of, MUST_REFUSE):
        status = answers.get(question, NO_ANSWER)
        if status != REFUSED:
            yield f"{question} gives {status or 'no answer'} {how}, not {REFUSED}"
    for question, status in answers.items():
        named = question in map(name_of, MUST_REFUSE)
        if question in listed and (status in REFUSALS or status == NO_ANSWER):
            yield f"{question} is listed as open but gives {status or 'no answer'} {how}"
        elif question not in listed and not named and is_open(status):
            yield f"{question} gives {status or 'no answer'} {how} and is not listed as open"
    for question in sorted(listed - answers.keys()):
        yield f"{question} is listed as open but was not asked"


def known_key_problems(endpoint: EndpointAnswers) -> Iterator[str]:
    """A server that refuses everyone would satisfy all the rest."""
    for path, status in {"/v1/models": endpoint.models["status"], "/props": endpoint.props["status"]}.items():
        if status != 200:
            yield f"GET {path} gives {status or 'no answer'} with the key"


def is_open(status: int) -> bool:
    """Whether the server did anything but refuse; a path that it does not have is not open."""
    return status not in REFUSALS and status != ABSENT


@check("health", "the service says that it is well")
def test_health(endpoint: EndpointAnswers, expected: Expected, evidence: Evidence) -> None:
    reachable(endpoint)
    status = endpoint.health["status"]
    evidence.update(path=expected.health_path, status=status)
    if status != 200:
        fail(f"GET {expected.health_path} gives {status}: {endpoint.health['text']}")


@check("models-listed", "the API lists the deployed model")
def test_models_listed(endpoint: EndpointAnswers, expected: Expected, evidence: Evidence) -> None:
    reachable(endpoint)
    models = endpoint.models["models"]
    evidence["models"] = models
    if endpoint.models["status"] != 200:
        fail(f"GET /v1/models gives {endpoint.models['status'] or 'no answer'} with the key")
    expect_none(model_problems(models, expected))


def model_problems(models: list[Mapping[str, Any]], expected: Expected) -> Iterator[str]:
    """Whether exactly the deployed model is listed, and looks like one."""
    names = [model["id"] for model in models]
    if names != [expected.alias]:
        yield f"the models are {', '.join(names) or 'none'}, not {expected.alias} alone"
        return
    for figure in ("n_params", "size", "n_vocab", "n_ctx_train"):
        value = models[0]["meta"].get(figure)
        if not isinstance(value, int) or value <= 0:
            yield f"its {figure} is {value!r}, not a positive number"


@check("completion", "the model answers a chat question, at once and as a stream")
def test_completion(endpoint: EndpointAnswers, evidence: Evidence) -> None:
    reachable(endpoint)
    completion = endpoint.completion
    evidence.update(completion_figures(completion))
    expect_none([*completion_problems(completion), *stream_problems(endpoint.stream)])


def completion_figures(completion: Mapping[str, Any]) -> dict[str, Any]:
    """Text, tokens and speed, as the report shows them."""
    usage, timings = completion.get("usage", {}), completion.get("timings", {})
    return {
        "text": completion.get("text", ""),
        "finish_reason": completion.get("finish_reason"),
        "prompt_tokens": usage.get("prompt_tokens", 0),
        "completion_tokens": usage.get("completion_tokens", 0),
        "prompt_per_second": timings.get("prompt_per_second"),
        "predicted_per_second": timings.get("predicted_per_second"),
        "wall_s": completion["wall_s"],
    }


def completion_problems(completion: Mapping[str, Any]) -> Iterator[str]:
    """Whether there is an answer, made of tokens that the server counted."""
    if completion["status"] != 200:
        yield f"the completion gives {completion['status'] or 'no answer'}: {completion['error']}"
        return
    if not completion["text"].strip():
        yield "the completion has no text"
    for count in ("prompt_tokens", "completion_tokens"):
        if not completion["usage"].get(count, 0) > 0:
            yield f"the completion counts no {count}"
    if not (completion["timings"].get("predicted_per_second") or 0) > 0:
        yield "the completion tells no tokens per second"


def stream_problems(stream: Mapping[str, Any]) -> Iterator[str]:
    """Whether the stream had something to say and came to its end."""
    if stream["status"] != 200:
        yield f"the stream gives {stream['status'] or 'no answer'}: {stream['error']}"
    elif stream["last"] != "[DONE]" or stream["events"] < 2:
        yield f"the stream ends after {stream['events']} events with {stream['last']!r}, not [DONE]"


def reachable(endpoint: EndpointAnswers) -> None:
    """End the check when there is no server to ask."""
    if endpoint.error:
        fail(f"the API does not answer: {endpoint.error}")
