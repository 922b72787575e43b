"""Marks that tell our own work on a host from everything else there."""

from __future__ import annotations

WORK_MARK = "LOCALAI_DEPLOY_TASK"
"""Environment variable of every process that a task of ours starts on a host. A process in which it is
empty may outlive its run: a model's pull, which the next run picks up."""
