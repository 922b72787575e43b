"""Errors around Ansible."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "ansible-failed": Explanation(
        title="Ansible itself could not run",
        cause="The playbook was not even begun, or ended without naming a host.",
        detection="ansible-playbook's exit code without a failed host.",
        fix="Read the output that the message names.",
    ),
    "ansible-missing": Explanation(
        title="ansible-playbook is not installed",
        cause="It belongs to the same environment as localai-deploy.",
        detection="It is neither beside the interpreter nor on the path.",
        fix="Install localai-deploy anew, for example with pipx.",
    ),
    "no-memory-directory": Explanation(
        title="There is nowhere in memory to put secrets",
        cause="Secrets are handed to Ansible in a file that must never reach a disk.",
        detection="Neither XDG_RUNTIME_DIR nor /dev/shm is a tmpfs that can be written.",
        fix="Mount a tmpfs on /dev/shm.",
    ),
    "directory-not-ours": Explanation(
        title="The directory for the project holds something else",
        cause=("render replaces what is there, so it only writes into new directories and its own."),
        detection="The directory is not empty and has no mark of ours.",
        fix="Name another directory.",
    ),
}
