"""Work on a host that outlived the run that began it: a task goes on when its SSH connection is lost."""

from __future__ import annotations

from localai_deploy.domain.marks import WORK_MARK
from localai_deploy.errors import LocalaiError
from localai_deploy.targets.executor import Executor

_SCRIPT = """\
grep -lazE "^$1=." /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ pid _; do
  words=$(tr '\\000\\n' '  ' <"/proc/$pid/cmdline" 2>/dev/null | cut -c 1-200)
  [ -z "$words" ] || printf '%s %s\\n' "$pid" "$words"
done
"""


def work_left(executor: Executor) -> tuple[str, ...]:
    """Number and command of each process of a task at work, oldest first; none without sudo rights.

    :raises LocalaiError: ``host-*``, ``ssh-*``, ``sudo-password-*``.
    """
    try:
        done = executor.run(["sh", "-c", _SCRIPT, "sh", WORK_MARK], sudo=True)
    except LocalaiError as error:
        if error.error_id != "sudo-missing":
            raise
        return ()
    lines = done.stdout.decode(errors="replace").splitlines()
    return tuple(sorted((line.strip() for line in lines), key=lambda line: int(line.split()[0])))
