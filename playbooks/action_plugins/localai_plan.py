"""Ansible action ``localai_plan``: the host's ``localai_`` variables become the variables of our roles.

It looks at the host over Ansible's own connection, resolves lock and models as ``localai-deploy plan`` does,
and fails where that plan has a blocker. Nothing is changed.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from localai_deploy.domain.connection import Connection
from localai_deploy.domain.facts import HostFacts
from localai_deploy.domain.facts_parser import parse_facts
from localai_deploy.domain.settings import PREFIX, Sourced, resolve_settings
from localai_deploy.domain.spec import Choices
from localai_deploy.errors import LocalaiError
from localai_deploy.inventory import InventoryHost, Secrets
from localai_deploy.provisioner.variables import role_variables
from localai_deploy.targets import observe
from localai_deploy.targets.standing import StandingHost
from localai_deploy.workflow.observe import PlannedHost, plan_host

_SCRIPT = Path(observe.__file__).with_name("observe.sh")


class ActionModule(ActionBase):
    """See the module; the class's name is Ansible's rule."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The roles' variables, as facts of the host."""
        result = super().run(tmp, task_vars)
        try:
            planned = self._planned(task_vars or {})
        except LocalaiError as error:
            raise AnsibleActionFail(_text(error.error_id, error.what, error.why, error.hint)) from error
        blockers = planned.plan.blockers
        if blockers or planned.deployment is None:
            texts = [_text(one.finding_id, one.what, one.why, one.hint) for one in blockers]
            raise AnsibleActionFail("\n".join(texts) or "nothing could be planned")
        token = planned.host.secrets.hub_token
        variables = role_variables(planned.deployment) | ({"model_store_token": token} if token else {})
        return result | {"changed": False, "ansible_facts": variables}

    def _planned(self, task_vars: dict[str, Any]) -> PlannedHost:
        name = str(task_vars["inventory_hostname"])
        given = {
            key: Sourced(_plain(self._templar.template(value)), "the inventory")
            for key, value in task_vars.items()
            if key.startswith(PREFIX) and key != "localai_expected"
        }
        host = InventoryHost(
            name,
            Connection(kind="ssh", destination=name),
            resolve_settings([given]),
            Secrets(hub_token=os.environ.get("HF_TOKEN", "")),
        )
        return plan_host(host, _Host(name, self), Choices(), self._display.vv)

    def look(self) -> HostFacts:
        """What the host is, seen as the user that the play becomes."""
        script = shlex.quote(_SCRIPT.read_text(encoding="utf-8"))
        done = self._low_level_execute_command(f"/bin/sh -c {script}")
        return parse_facts(done["stdout"] or done["stderr"])


class _Host(StandingHost):
    """A target that is only looked at."""

    def __init__(self, name: str, action: ActionModule) -> None:
        self.name = name
        self._action = action

    def observe(self) -> HostFacts:
        return self._action.look()


def _plain(value: Any) -> Any:  # noqa: ANN401 - YAML of any shape
    """The value without the marks of origin that Ansible gives it."""
    return json.loads(json.dumps(value, default=str))


def _text(error_id: str, what: str, why: str, hint: str) -> str:
    return f"{what}{f': {why}' if why else ''} [{error_id}]{f'. {hint}' if hint else ''}"
