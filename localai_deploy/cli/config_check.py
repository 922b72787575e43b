"""``config check``: everything that is wrong in an inventory, each with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from localai_deploy.cli.options import host_options, hosts_from, overrides_of
from localai_deploy.cli.output import print_json
from localai_deploy.cli.terminal import note, show
from localai_deploy.errors import ExitCode

if TYPE_CHECKING:
    from localai_deploy.inventory.check import Checked, Problem


@click.command(
    short_help="Check an inventory's every value.",
    epilog="Example: localai-deploy config check -i inventories/home",
)
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@host_options
def check(hosts: tuple[str, ...], **options: Any) -> int:  # noqa: ANN401
    """Read the inventory's files and check every value; exit 2 with file, line and column of what is wrong.

    All that is wrong is told at once, also in files of groups and hosts that are not in use.
    """
    found = _checked(hosts, options)
    if options["output"] == "json":
        problems = [_data(one) for one in found.problems]
        print_json("config-check", hosts=list(found.hosts), problems=problems)
    else:
        _tell(found)
    return int(ExitCode.MALFORMED if found.problems else ExitCode.DONE)


def _checked(names: tuple[str, ...], options: dict[str, Any]) -> Checked:
    from localai_deploy.inventory.check import Checked, check_inventory

    if not options["inventory"] or options["node"]:
        return Checked([host.spec().name for host in hosts_from(names, options)], ())
    place = options["inventory"], overrides_of(options), options["vault_password_file"]
    return check_inventory(names, *place, limit=options["limit"])


def _tell(found: Checked) -> None:
    for one in found.problems:
        show(f"{_place(one)}: {_what(one)} [{click.style(one.error.error_id, fg='red')}]")
        for line in filter(None, (one.error.why, one.error.hint)):
            show(click.style(f"    {line}", dim=True))
    count = len(found.hosts)
    if found.problems:
        note(f"{len(found.problems)} to correct; nothing was changed")
    else:
        show(f"fine: {', '.join(found.hosts)} ({count} host{'' if count == 1 else 's'})")


def _place(problem: Problem) -> str:
    place = problem.place
    return f"{place}:{place.column}" if place.column else str(place)


def _what(problem: Problem) -> str:
    return problem.error.what.removeprefix(f"{problem.place}: ")


def _data(problem: Problem) -> dict[str, Any]:
    place, error = problem.place, problem.error
    return {
        "file": place.file,
        "line": place.line,
        "column": place.column,
        "id": error.error_id,
        "what": _what(problem),
        "why": error.why,
        "hint": error.hint,
    }
