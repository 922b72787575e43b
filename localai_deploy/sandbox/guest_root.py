"""What is in the root of a guest that is a container: Debian as cloud images have it, without a guest agent.

Where a container differs from a machine, the root makes up for it: networkd takes udev's place, and the
agent, once it is installed, listens on a socket instead of a virtio port.
"""

from __future__ import annotations

from localai_deploy.sandbox.debian_root import RootRecipe

SUITE = "trixie"
AGENT_SOCKET = "run/qemu-ga.sock"
"""Below the guest's root."""

_AGENT = "qemu-guest-agent.service"
_CARDS = "container-cards.service"
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "libnss-myhostname", "openssh-server"),
    *("cloud-init", "netplan.io", "sudo", "python3", "python3-apt", "iproute2", "ca-certificates"),
)
_MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer"),
    *("fstrim.timer", "man-db.timer", "systemd-tmpfiles-clean.timer", "console-getty.service"),
    *("getty.target", "sys-kernel-config.mount", "sys-kernel-debug.mount", "ldconfig.service"),
    *("systemd-journal-catalog-update.service", "systemd-update-done.service"),
)
_COMMANDS = (
    f"systemctl mask --quiet {' '.join(_MASKED)}",
    "systemctl enable --quiet systemd-networkd.service",
    f"ln -s ../{_AGENT} /etc/systemd/system/multi-user.target.wants/{_AGENT}",
    "mkdir -p /etc/systemd/system/sysinit.target.wants",
    f"ln -s ../{_CARDS} /etc/systemd/system/sysinit.target.wants/{_CARDS}",
    "rm -f /etc/ssh/ssh_host_* /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/dbus/machine-id",
)
_AGENT_UNIT = f"""\
[Unit]
Description=QEMU Guest Agent
ConditionFileIsExecutable=/usr/sbin/qemu-ga

[Service]
ExecStart=/usr/sbin/qemu-ga --method=unix-listen --path=/{AGENT_SOCKET}
Restart=always
RestartSec=0
"""
"""Starts with the system as soon as the agent is installed, which is udev's work on a machine."""
_CARDS_UNIT = """\
[Unit]
Description=Network cards of this container in /sys
DefaultDependencies=no
Before=cloud-init-main.service cloud-init-local.service systemd-networkd.service sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=mkdir -p /run/sysfs
ExecStart=mount -t sysfs -o ro,nosuid,nodev,noexec sysfs /run/sysfs
ExecStart=mount --bind /run/sysfs/class/net /sys/class/net
ExecStart=mount --bind /run/sysfs/devices/virtual/net /sys/devices/virtual/net
ExecStart=umount /run/sysfs
"""
"""Where systemd-nspawn is given a network namespace, the /sys that it shows is still the machine's."""
_MAC_BY_WHAT_IT_IS = """\
[Service]
ExecStartPre=+/bin/sh -c "sed -i s/^PermanentMACAddress=/MACAddress=/ /run/systemd/network/*.network || true"
"""
"""netplan looks for the address that is burnt into a card; a container's card has none."""
_FILES = {
    "etc/cloud/cloud.cfg.d/90_container.cfg": "system_info:\n  network:\n    renderers: [netplan]\n",
    "etc/fstab": "",
    "etc/hostname": "localhost\n",
    "etc/machine-id": "",
    "etc/resolv.conf": "options timeout:1 attempts:1\n",
    "etc/systemd/system/systemd-networkd.service.d/container.conf": _MAC_BY_WHAT_IT_IS,
    f"etc/systemd/system/{_AGENT}": _AGENT_UNIT,
    f"etc/systemd/system/{_CARDS}": _CARDS_UNIT,
}
_WITHOUT = ("doc", "info", "locale", "man")


def guest_recipe(apt_settings: str = "") -> RootRecipe:
    """The root of a container guest.

    :param apt_settings: lines of apt.conf, such as those about the age of an archive's indexes.
    """
    return RootRecipe(
        suite=SUITE,
        packages=_PACKAGES,
        commands=_COMMANDS,
        files=_FILES,
        apt_settings=apt_settings,
        dpkg_settings=(*(f"path-exclude=/usr/share/{name}/*" for name in _WITHOUT), "force-unsafe-io"),
    )
