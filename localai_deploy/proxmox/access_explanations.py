"""Errors about rights on a Proxmox node."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "pve-rights-missing": Explanation(
        title="The API token lacks rights that the plan needs",
        cause=(
            "A new token has no rights of its own, and with privilege separation it has only what both it "
            "and its user were granted. A role may also be from an older version of Proxmox VE: 9 split "
            "VM.Monitor into VM.GuestAgent.*."
        ),
        detection="GET /access/permissions, compared with what each call needs, before any is made.",
        fix=(
            "localai-deploy node permissions N prints the commands for an administrator of the node; with "
            "an administrator's token --apply makes the changes."
        ),
    ),
    "pve-not-administrator": Explanation(
        title="The token may not hand out rights",
        cause=(
            "Roles, users and the access list are an administrator's; the token of day to day has no "
            "rights to give."
        ),
        detection="GET /access/permissions of the caller, before anything is changed.",
        fix=(
            "Use a token of an administrator (one of root@pam without privilege separation), or let an "
            "administrator run the commands that node permissions prints."
        ),
    ),
}
