"""Callback that writes what each task did to the file $RECORD_FILE, one JSON object a line."""

from __future__ import annotations

import json
import os
from pathlib import Path

from ansible.plugins.callback import CallbackBase

KEPT = ("stdout", "stderr", "msg", "diff", "exception")


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "record"

    def v2_runner_on_ok(self, result):
        self._write("ok", result)

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._write("failed", result)

    def v2_runner_on_unreachable(self, result):
        self._write("failed", result)

    def v2_runner_on_skipped(self, result):
        self._write("skipped", result)

    def v2_runner_retry(self, result):
        self._write("retry", result)

    def _write(self, status, result):
        task, data = result.task, result.result
        line = {
            "role": task._role.get_name() if task._role else "",
            "task": task.name,
            "status": status,
            "changed": bool(data.get("changed")),
            **{key: data[key] for key in KEPT if data.get(key)},
        }
        with Path(os.environ["RECORD_FILE"]).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, default=str) + "\n")
