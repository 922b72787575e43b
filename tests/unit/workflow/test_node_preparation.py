"""What a check run of Ansible printed, as the difference that a person is asked about."""

from __future__ import annotations

from localai_deploy.workflow.node_preparation import _difference

PRINTED = """\
PLAY [Prepare nodes for passthrough] *****

TASK [vfio : Add them to the command line] ****
--- before: /etc/kernel/cmdline
+++ after: /etc/kernel/cmdline
@@ -1 +1 @@
-root=ZFS=rpool/ROOT/pve-1 boot=zfs
+root=ZFS=rpool/ROOT/pve-1 boot=zfs iommu=pt

changed: [pve1]
- a line that is no part of it
TASK [vfio : Look at the drivers] ****
ok: [pve1] => (item=0000:01:00.0)
"""


def test_only_patches_are_kept() -> None:
    assert _difference(PRINTED) == [
        "--- before: /etc/kernel/cmdline",
        "+++ after: /etc/kernel/cmdline",
        "@@ -1 +1 @@",
        "-root=ZFS=rpool/ROOT/pve-1 boot=zfs",
        "+root=ZFS=rpool/ROOT/pve-1 boot=zfs iommu=pt",
    ]


def test_a_run_without_differences() -> None:
    assert _difference("PLAY [x] ***\nok: [pve1]\n") == []
