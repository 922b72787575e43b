"""``fit``: what runs on which card, before anything is made."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import click

from localai_deploy.cli import fit_data, fit_view
from localai_deploy.cli.fit_options import Asked, asked, fit_options
from localai_deploy.cli.output import error_data, print_json
from localai_deploy.cli.terminal import note, show
from localai_deploy.domain.fit.calibration import calibrate, measured, timing_data
from localai_deploy.domain.fit.choice import Choice, Option
from localai_deploy.domain.fit.near import card_for, faster, near_lines, nearest
from localai_deploy.domain.fit.speed import touched
from localai_deploy.domain.models.catalogue import default_model
from localai_deploy.domain.units import format_bytes
from localai_deploy.errors import ExitCode, InputError, LocalaiError
from localai_deploy.workflow.fitting import Hub, Offered, choose_offered, look_at, with_companions
from localai_deploy.workflow.second_opinion import SecondOpinion, second_opinion


@click.command(epilog="Example: localai-deploy fit --model hf:ORG/REPO/FILE.gguf --gpu 'RTX 3090'")
@fit_options
def fit(**options: Any) -> int:  # noqa: ANN401
    """Work out what a model needs on cards and host, by part, and how fast it will be.

    Only headers are read. Exit 3 when it does not fit as wished; the nearest possible ways are named.
    """
    if options["matrix"]:
        from localai_deploy.cli.fit_matrix import print_matrix

        return print_matrix(options, hub_of(options))
    if len(options["model"]) > 1:
        raise InputError("usage", "fit takes one --model", hint="several go with --matrix")
    wanted, hub = asked(options), hub_of(options)
    text = options["model"][0] if options["model"] else _usual(wanted)
    offered = look_at(text, wanted.machine.room_bytes, hub)
    offered = with_companions(offered, options["draft"] or "", options["projector"] or "", hub)
    offered, choice = choose_offered(offered, wanted.wish, wanted.machine, wanted.freedom, hub, wanted.timing)
    answer = _answer(wanted, offered, choice, options)
    if options["output"] == "json":
        _print_json(wanted, answer)
    else:
        _print_text(wanted, answer)
    return int(answer.problem.exit_code if answer.problem else ExitCode.DONE)


def _usual(wanted: Asked) -> str:
    """What ``up`` would serve on such cards where nobody names a model."""
    name = default_model([card.memory_bytes for card in wanted.machine.cards])
    note(f"no --model: taking {name}")
    return name


def hub_of(options: Mapping[str, Any]) -> Hub:
    """Where models come from; the token is the environment's."""
    return Hub(options["hub"].rstrip("/"), os.environ.get("HF_TOKEN") or None)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is printed; ``opinion`` is ``None`` where the runtime was not asked."""

    choice: Choice
    shown: Option
    calibration: dict[str, float] | None
    problem: LocalaiError | None
    assumed: list[str]
    opinion: SecondOpinion | None


def _answer(wanted: Asked, offered: Offered, choice: Choice, options: Mapping[str, Any]) -> _Answer:
    shown, calibration = choice.best or _least_short(choice), None
    if options["measured"] is not None:
        shown, calibration = _measured(shown, wanted, options["measured"])
    problem = None if shown.fits else _problem(wanted, choice, shown)
    assumed = fit_data.assumptions(wanted.machine, converted=offered.converted)
    opinion = second_opinion(shown, offered.reference) if options["real"] else None
    return _Answer(choice, shown, calibration, problem, assumed, opinion)


def _print_text(wanted: Asked, answer: _Answer) -> None:
    for line in fit_view.option_lines(answer.shown, wanted.machine):
        show(line)
    for line in fit_view.opinion_lines(answer.shown, answer.opinion) if answer.opinion else ():
        show(f"  {line}")
    for text in near_lines(_faster(wanted, answer.shown), answer.shown.wish):
        show(f"  faster: {text}")
    for line in fit_view.rejected_lines(answer.choice) if answer.choice.best else ():
        show(line)
    for line in answer.assumed:
        show(f"  assumed: {line}")
    if answer.problem:
        raise answer.problem


def _least_short(choice: Choice) -> Option:
    return min(
        (one.option for one in choice.rejected),
        key=lambda option: max(short.needed_bytes - short.there_bytes for short in option.shortages),
    )


def _measured(option: Option, wanted: Asked, rate: float) -> tuple[Option, dict[str, float]]:
    candidate, machine = option.candidate, wanted.machine
    load = touched(candidate.shape, option.wish, machine.cards, candidate.values)
    timing = calibrate(load, machine, rate)
    speed = measured(candidate.shape, option.wish, machine, candidate.values, rate)
    return replace(option, speed=speed), timing_data(timing)


def _problem(wanted: Asked, choice: Choice, shown: Option) -> LocalaiError:
    near = near_lines(_nearest(wanted, choice, shown), shown.wish)
    card = card_for(shown, wanted.machine)
    if card:
        near.append(f"a card of {format_bytes(card)} holds everything as wished")
    return LocalaiError(
        "fit-does-not-fit",
        f"{shown.candidate.name} does not fit as wished",
        why=fit_view.shortage_lines(shown),
        hint="possible: " + "\n".join(near) if near else "take a smaller model",
    )


def _nearest(wanted: Asked, choice: Choice, shown: Option) -> tuple[Option, ...]:
    candidates = [one.option.candidate for one in choice.rejected]
    return nearest(candidates, shown, wanted.machine, wanted.timing)


def _faster(wanted: Asked, shown: Option) -> tuple[Option, ...]:
    return faster(shown, wanted.machine, wanted.timing)


def _print_json(wanted: Asked, answer: _Answer) -> None:
    shown, problem = answer.shown, answer.problem
    near = _nearest(wanted, answer.choice, shown) if problem else ()
    print_json(
        "fit",
        **fit_data.option_data(shown, wanted.machine),
        not_chosen=fit_data.choice_data(answer.choice) if answer.choice.best else [],
        assumptions=answer.assumed,
        calibration=answer.calibration,
        problem=error_data(problem) if problem else None,
        nearest=[fit_data.near_data(option) for option in near],
        faster=[fit_data.near_data(option) for option in _faster(wanted, shown)],
        card_for_all_bytes=card_for(shown, wanted.machine) or None,
        second_opinion=fit_data.opinion_data(answer.opinion) if answer.opinion else None,
    )
