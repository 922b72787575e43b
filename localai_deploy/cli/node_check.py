"""``node check``: whether a node can pass its cards through."""

from __future__ import annotations

from typing import Any

import click

from localai_deploy.cli.doctor_view import node_data, print_node
from localai_deploy.cli.node_ssh import ssh_options, wanted_login
from localai_deploy.cli.options import node_from, node_options
from localai_deploy.cli.output import print_json
from localai_deploy.cli.progress import say
from localai_deploy.errors import ExitCode


@click.command(
    short_help="Tell what speaks against passing a node's cards through.",
    epilog="Example: localai-deploy node check pve1 --ssh",
)
@click.argument("node_name", metavar="N")
@ssh_options
@node_options
def check(node_name: str, **options: Any) -> int:  # noqa: ANN401
    """Look at node N and its cards, and change nothing: exit 0 (fine, warnings) or 3 (one would block).

    Through its API alone some things cannot be told: they read `unknown`. With --ssh the node itself is
    looked at; its host key is known before.
    """
    from localai_deploy.workflow.doctor import examine_node, has_blocker

    connection, login = node_from(node_name, options), wanted_login(node_name, options)
    report = examine_node(connection, login, say)
    if options["output"] == "json":
        print_json("node-check", **node_data(report))
    else:
        print_node(report)
    return int(ExitCode.REFUSED if has_blocker(report.all_findings) else ExitCode.DONE)
