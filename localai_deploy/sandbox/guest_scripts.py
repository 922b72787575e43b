"""What is run inside guests, as root and by the agent, before they are saved and after they were resumed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from localai_deploy.sandbox.body import AgentRefused, AgentSilent

Ask = Callable[[str, dict[str, Any]], Any]
_POLL_S = 0.2

PREPARE = """\
set -eu
quietly() { "$@" >/dev/null 2>&1 || :; }
quietly cloud-init status --wait
quietly systemctl stop ssh.socket ssh.service sshd.service
quietly systemctl stop cloud-final.service cloud-config.service cloud-init-network.service \\
  cloud-init.service cloud-init-local.service
quietly cloud-init clean --logs --configs network ssh_config || quietly cloud-init clean --logs
rm -f /etc/ssh/ssh_host_* /etc/systemd/network/10-cloud-init-* /etc/netplan/50-cloud-init.yaml \\
  /etc/network/interfaces.d/50-cloud-init* /var/lib/systemd/random-seed
rm -rf /var/lib/cloud/instances /var/lib/cloud/instance /var/lib/cloud/data /var/lib/cloud/sem
rm -f /run/cloud-init/status.json /run/cloud-init/result.json /run/cloud-init/instance-data*.json
quietly journalctl --rotate --vacuum-size=1
if systemctl cat cloud-init-main.service >/dev/null 2>&1; then systemctl restart cloud-init-main.service; fi
sync
"""
"""Leaves a guest without identity, its cloud-init waiting where it has a process that waits."""

_TAKE_OVER = """\
set -eu
there() {{ "$@" >/dev/null 2>&1; }}
step() {{ read -r up _ < /proc/uptime; echo "up $up s: $1"; }}
date --utc --set=@{now} >/dev/null
echo {machine_id} > /etc/machine-id
if [ ! -L /var/lib/dbus/machine-id ]; then rm -f /var/lib/dbus/machine-id; fi
for mac in {macs}; do
  tries=0
  until grep -qi "$mac" /sys/class/net/*/address; do
    tries=$((tries + 1)); [ $tries -lt 150 ] || {{ echo "no network card $mac" >&2; exit 1; }}
    sleep 0.2
  done
done
tries=0
until there ls /dev/disk/by-label/cidata || there ls /dev/disk/by-label/CIDATA; do
  tries=$((tries + 1)); [ $tries -lt 150 ] || {{ echo "no seed" >&2; exit 1; }}
  sleep 0.2
done
udevadm settle --timeout=30
step "cards and seed are there"
there systemctl try-restart systemd-networkd.service || :
systemctl start cloud-init-local.service
step "network configured"
if [ -e /etc/netplan/50-cloud-init.yaml ]; then netplan apply
elif [ -e /etc/network/interfaces.d/50-cloud-init ]; then ifup --all
else networkctl reload
fi
if there systemctl cat cloud-init-main.service; then systemctl start cloud-init-network.service
else systemctl start cloud-init.service
fi
step "users and keys made"
systemctl start ssh.service cloud-config.service
systemctl start --no-block cloud-final.service
"""


class ScriptFailed(Exception):  # noqa: N818
    """A script did not end well in the guest; the text says how."""


def take_over(machine_id: str, macs: Iterable[str], now_s: int) -> str:
    """The script that makes a resumed guest the VM whose cards and seed it finds.

    Time and machine id come from outside: a saved guest knows neither.
    """
    return _TAKE_OVER.format(machine_id=machine_id, macs=" ".join(macs), now=now_s)


def run_script(ask: Ask, script: str, timeout_s: float) -> str:
    """Run a shell script by the agent; its output. Raises ScriptFailed."""
    deadline = time.monotonic() + timeout_s
    try:
        pid = ask("exec", {"command": ["/bin/sh", "-c", script]})
        while True:
            status = _status(ask, pid)
            if status.get("exited"):
                break
            if time.monotonic() > deadline:
                raise ScriptFailed(f"it did not end within {timeout_s:.0f} s")
            time.sleep(_POLL_S)
    except (AgentRefused, AgentSilent) as error:
        raise ScriptFailed(str(error) or "the agent fell silent") from error
    said = str(status.get("out-data", "")) + str(status.get("err-data", ""))
    if status.get("exitcode") != 0:
        raise ScriptFailed(said.strip() or f"it ended with {status.get('exitcode')}")
    return said


def _status(ask: Ask, pid: int) -> dict[str, Any]:
    """How the script does; a busy guest may be silent for a while."""
    try:
        found: dict[str, Any] = ask("exec-status", {"pid": pid})
    except AgentSilent:
        return {}
    return found
