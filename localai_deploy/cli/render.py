"""``render``: the Ansible project that ``up`` would run."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from localai_deploy.cli.options import deployment_options, host_options, hosts_from, vm_options
from localai_deploy.cli.output import print_json
from localai_deploy.cli.plan_view import choices_of, obstacle
from localai_deploy.cli.progress import say
from localai_deploy.cli.terminal import show
from localai_deploy.provisioner.render import render_project
from localai_deploy.workflow import deploy as workflow


@click.command(
    epilog="Example: localai-deploy render -d project admin@192.0.2.10 --model hf:ORG/REPO/FILE.gguf"
)
@click.argument("hosts", nargs=-1, metavar="[HOST]...")
@click.option(
    "-d", "--directory", required=True, type=click.Path(path_type=Path), help="Where the project goes."
)
@deployment_options
@vm_options
@host_options
def render(hosts: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401
    """Write inventory, playbooks and roles for HOST; plain `ansible-playbook` runs them.

    No secret is written: give a sudo password to ansible-playbook with -K.
    """
    wanted = hosts_from(hosts, options)
    with ExitStack() as stack:
        targets = workflow.open_targets(wanted, stack, say)
        looked = workflow.look(wanted, targets, choices_of(options), say)
        planned = [one.planned for one in looked if one.planned and one.planned.deployment]
        stopped = obstacle(looked)
        if stopped and len(planned) < len(looked):
            raise stopped
        hosts_of_project = [workflow.project_host(one, shared=False) for one in planned]
    project = render_project(options["directory"], hosts_of_project)
    if options["output"] == "json":
        print_json("render", directory=str(project.directory.resolve()))
        return
    show(f"written: {project.directory}")
    show(f"run it:  cd {shlex.quote(str(project.directory))} && ansible-playbook -i inventory site.yml")
