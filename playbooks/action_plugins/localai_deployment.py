"""Action of `site.yml`: look at a host and tell which roles it needs, with their variables.

Needs the Python package localai-deploy in the environment of ansible-playbook; its command is not run.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

try:
    from localai_deploy.errors import LocalaiError
    from localai_deploy.targets.executor import Completed
    from localai_deploy.workflow.play import host_play, steps_of
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
        variables = self._own_variables(task_vars or {})
        tags, skipped = (self._task.args.get(name, []) for name in ("tags", "skipped"))
        name = (task_vars or {})["inventory_hostname"]
        try:
            play = host_play(name, variables, self._runs, steps_of(tags, skipped), display.v)
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

    def _own_variables(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        wanted = [key for key in task_vars if key.startswith("localai_") or key == "ansible_host"]
        return {key: _plain(self._templar.template(task_vars[key])) for key in wanted}

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
