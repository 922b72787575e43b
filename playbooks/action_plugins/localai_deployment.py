"""Action of `site.yml`: look at a host and tell which roles it needs, with their variables.

Needs the Python package localai-deploy in the environment of ansible-playbook; its command is not run.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

try:
    from localai_deploy.errors import LocalaiError
    from localai_deploy.targets.executor import Completed
    from localai_deploy.workflow.play import Groups, host_play, steps_of
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

display = Display()


class ActionModule(ActionBase):
    """See ``localai_deploy.workflow.play``."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Facts are variables of the roles; ``roles`` is what to include."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        if MISSING is not None:
            raise AnsibleActionFail(
                f"{MISSING}: install localai-deploy into the environment of ansible-playbook "
                "(pipx inject ansible-core localai-deploy, or pip install)"
            )
        tags, skipped = (self._task.args.get(name, []) for name in ("tags", "skipped"))
        name = (task_vars or {})["inventory_hostname"]
        try:
            play = host_play(
                name, self._groups(task_vars or {}), self._runs, steps_of(tags, skipped), display.v
            )
        except LocalaiError as error:
            lines = filter(None, (error.what, error.why, error.hint))
            raise AnsibleActionFail(f"{chr(10).join(lines)} [{error.error_id}]") from None
        for warning in play.warnings:
            display.warning(f"{name}: {warning}")
        return result | {
            "changed": False,
            "roles": list(play.roles),
            "ansible_facts": dict(play.variables),
        }

    def _groups(self, task_vars: dict[str, Any]) -> Groups:
        groups = task_vars["groups"]

        def variables_of(name: str) -> dict[str, Any]:
            own = name == task_vars["inventory_hostname"]
            return self._variables(task_vars if own else task_vars["hostvars"][name])

        return Groups(
            [str(one) for one in groups.get("gateway", [])],
            [str(one) for one in groups.get("inference", [])],
            variables_of,
        )

    def _variables(self, found: Mapping[str, Any]) -> dict[str, Any]:
        wanted = [key for key in found if key.startswith("localai_") or key == "ansible_host"]
        return {str(key): _plain(self._templar.template(found[key])) for key in wanted}

    def _runs(self, argv: Sequence[str], stdin: bytes) -> Completed:
        done = self._low_level_execute_command(shlex.join(argv), sudoable=True, in_data=stdin)
        return Completed(done["rc"], done["stdout"].encode(), done["stderr"].encode())


def _plain(value: Any) -> Any:  # noqa: ANN401 - YAML of any shape
    """Ansible's tagged values as plain ones."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool):
        return value
    kind = next((kind for kind in (int, float) if isinstance(value, kind)), str)
    return kind(value)
