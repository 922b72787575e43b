"""Plain Ansible's play: which steps its tags leave, and what it refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import pytest

from localai_deploy.domain.plan import HOST_STEPS, ROLE_OF
from localai_deploy.errors import InputError, LocalaiError
from localai_deploy.workflow.play import Groups, host_play, steps_of

ALL = {kind.value for kind in HOST_STEPS}


def never(argv: Sequence[str], stdin: bytes) -> NoReturn:
    raise AssertionError(argv)


@pytest.mark.parametrize(
    ("tags", "skipped", "left"),
    [
        (["all"], [], ALL),
        (["models"], [], {"prepare", "models", "service", "gateway"}),
        (["models", "verify"], [], {"prepare", "models", "service", "gateway", "verify"}),
        (["gateway"], [], {"prepare", "gateway"}),
        (["environment"], [], {"environment"}),
        (["all"], ["models"], ALL - {"prepare", "models", "service", "gateway"}),
        (["runtime"], ["runtime"], set()),
    ],
)
def test_tags(tags: list[str], skipped: list[str], left: set[str]) -> None:
    assert steps_of(tags, skipped) == left


@pytest.mark.parametrize(("tags", "skipped"), [(["model"], []), (["all"], ["modles"])])
def test_a_tag_of_nothing_does_not_run_everything(tags: list[str], skipped: list[str]) -> None:
    with pytest.raises(InputError, match="has the tag") as caught:
        steps_of(tags, skipped)
    assert caught.value.why == "did you mean models?"


def test_every_role_is_of_a_step_that_tags_can_name() -> None:
    assert {kind.value for kind in ROLE_OF} <= ALL


@pytest.mark.parametrize(
    ("variables", "error_id"),
    [
        ({"localai_prot": 1}, "variable-unknown"),
        ({"localai_port": "x"}, "setting-invalid"),
        ({"localai_node": "pve1"}, "vm-not-an-entry"),
        ({"localai_node": "pve1", "ansible_host": "llm"}, "vm-not-an-entry"),
    ],
)
def test_refused_before_the_host_is_touched(variables: dict[str, object], error_id: str) -> None:
    with pytest.raises(LocalaiError) as caught:
        host_play("llm", Groups([], ["llm"], lambda _: variables), never, frozenset(ALL), print)
    assert caught.value.error_id == error_id


@pytest.mark.parametrize(
    ("gateways", "host", "error_id"),
    [
        (["nas", "den"], "den", "gateway-several"),
        (["printer"], "den", "gateway-not-inference"),
        (["nas"], "nas", "gateway-model-open"),
    ],
)
def test_a_wrong_gateway_is_refused_before_the_host_is_touched(
    gateways: list[str], host: str, error_id: str
) -> None:
    variables = {"nas": {"localai_models": ["hf:o/r/a.gguf"]}, "den": {"localai_port": 9000}}
    with pytest.raises(LocalaiError) as caught:
        host_play(host, Groups(gateways, ["nas", "den"], variables.__getitem__), never, frozenset(ALL), print)
    assert caught.value.error_id == error_id
