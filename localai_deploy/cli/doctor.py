"""``doctor``: what would block a deployment on a node or on hosts; nothing is changed."""

from __future__ import annotations

from typing import Any

import click

from localai_deploy.cli.doctor_view import host_data, node_data, print_host, print_node
from localai_deploy.cli.node_ssh import ssh_options, wanted_login
from localai_deploy.cli.options import hosts_from, node_from, node_options
from localai_deploy.cli.output import print_json
from localai_deploy.cli.progress import say
from localai_deploy.cli.run_options import forks_option, limit_option
from localai_deploy.errors import ExitCode


@click.command(epilog="Example: localai-deploy doctor --node pve1 --ssh")
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@click.option("--node", "node_name", metavar="N", help="Examine this Proxmox node and its cards.")
@click.option("-K", "--ask-become-pass", is_flag=True, help="Ask for the hosts' sudo password.")
@limit_option
@forks_option
@ssh_options
@node_options
def doctor(hosts: tuple[str, ...], node_name: str | None, **options: Any) -> int:  # noqa: ANN401
    """Examine node N and HOSTs, each finding with its fix: exit 0 (fine or warnings) or 3 (one would block).

    A host is examined as `plan` does before it looks at packages and models; `explain ID` tells more about a
    finding. What nobody could look at reads `unknown`.
    """
    from localai_deploy.workflow.doctor import examine_hosts, examine_node, has_blocker

    nodes = []
    if node_name:
        connection, login = node_from(node_name, options), wanted_login(node_name, options)
        nodes = [examine_node(connection, login, say)]
    wanted = hosts_from(hosts, options) if hosts or options["limit"] or not node_name else []
    seen = examine_hosts(wanted, say, options["forks"]) if wanted else []
    if options["output"] == "json":
        print_json("doctor", nodes=[node_data(one) for one in nodes], hosts=[host_data(one) for one in seen])
    else:
        for node in nodes:
            print_node(node)
        for host in seen:
            print_host(host)
    findings = [*(one for node in nodes for one in node.all_findings), *(f for h in seen for f in h.findings)]
    return int(ExitCode.REFUSED if has_blocker(findings) else ExitCode.DONE)
