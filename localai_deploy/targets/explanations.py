"""Errors of reaching a host."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

_CONSOLE = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub on the host's own console"

EXPLANATIONS: dict[str, Explanation] = {
    "host-unknown": Explanation(
        title="The host's name does not resolve",
        cause="A typo, or the name is known only to another resolver.",
        detection="ssh could not look the name up.",
        fix="Check the spelling, use the address, or add a Host block to ~/.ssh/config.",
    ),
    "host-unreachable": Explanation(
        title="The host does not answer",
        cause="It is off, its SSH server does not run, or a firewall drops the connection.",
        detection="ssh was refused or waited in vain.",
        fix="Try `ssh HOST` yourself; check power, port and firewall.",
    ),
    "host-unreadable": Explanation(
        title="The look at the host was cut short",
        cause="The connection broke, or the login shell prints or does something unusual.",
        detection="The observing script's last line did not arrive.",
        fix="Run it again; if it stays, try `ssh HOST sh -c true` and remove what prints there.",
    ),
    "ssh-auth-failed": Explanation(
        title="The host does not let this user in",
        cause="The wrong user, or a key that the host does not know.",
        detection="ssh ended with 'Permission denied'.",
        fix="Write USER@HOST, load the key into the agent, or name it in ~/.ssh/config.",
    ),
    "ssh-missing": Explanation(
        title="A program is missing on this machine",
        cause="The OpenSSH client does the connecting.",
        detection="Starting it failed.",
        fix="sudo apt install openssh-client",
    ),
    "host-key-unknown": Explanation(
        title="The host's key is not known yet",
        cause="It is the first connection. Accepting any key would let anybody in between.",
        detection="The key that the host offers is not in ~/.config/localai-deploy/known_hosts.",
        fix=f"Compare the fingerprint ({_CONSOLE}), then run again with --accept-host-key FINGERPRINT.",
    ),
    "host-key-mismatch": Explanation(
        title="The host offers another key than the one vouched for",
        cause="A wrong fingerprint was given, or somebody is in between.",
        detection="The offered key's fingerprint is not that of --accept-host-key or localai_host_key.",
        fix=f"Compare both with {_CONSOLE}.",
    ),
    "host-key-changed": Explanation(
        title="The host's key has changed",
        cause="The host was reinstalled, its address moved to another one, or somebody is in between.",
        detection="Our known_hosts holds another key for the host.",
        fix=f"Find out why. Compare the new key ({_CONSOLE}), then use --accept-host-key FINGERPRINT.",
    ),
    "jump-host-key-unknown": Explanation(
        title="A jump host's key is not known",
        cause="The way to the host leads through another one, by ProxyJump of the SSH configuration.",
        detection="ssh refused the jump host's key; your own known_hosts decides about those.",
        fix="Log in to the jump host once by hand and compare its key; then run again.",
    ),
    "ssh-config-invalid": Explanation(
        title="The SSH configuration cannot be read",
        cause="An unknown option or a wrong value in ~/.ssh/config or in ansible_ssh_common_args.",
        detection="`ssh -G HOST` fails.",
        fix="Correct the file and line that it names.",
    ),
    "sudo-missing": Explanation(
        title="The user cannot become root",
        cause="Installing needs root; the user has no sudo rights, or sudo is missing.",
        detection="sudo -n on the host.",
        fix="Give the user sudo rights, or log in as root.",
    ),
    "sudo-password-needed": Explanation(
        title="sudo asks for a password",
        cause="The user's sudo rights need the password, and none was given.",
        detection="sudo -n on the host.",
        fix="Add --ask-become-pass (-K), or put ansible_become_password into a vaulted inventory file.",
    ),
    "sudo-password-wrong": Explanation(
        title="The sudo password is wrong",
        cause="A typo, or it was changed on the host.",
        detection="sudo refused it.",
        fix="Give the right one with -K or ansible_become_password.",
    ),
    "command-timeout": Explanation(
        title="A command did not end in time",
        cause="The host is overloaded, or a file system hangs.",
        detection="Nothing came back within the limit.",
        fix="Look at the host's load and mounts, then run again.",
    ),
    "host-held": Explanation(
        title="Another run is at work on the host",
        cause="Two runs at once would undo each other's work.",
        detection="/run/lock/localai-deploy.lock on the host is held over a live connection.",
        fix="Wait for it. A killed run lets go by itself, one whose network broke within two minutes.",
    ),
    "host-lock-lost": Explanation(
        title="This run no longer holds the host",
        cause="The connection broke, or the machine that runs the command slept for some minutes.",
        detection="The process that keeps the lock has ended; it is asked before each step.",
        fix="Run the same command again: it goes on from here.",
    ),
    "host-lock-failed": Explanation(
        title="The host cannot be held against other runs",
        cause="/run/lock cannot be written, or flock (util-linux) is missing.",
        detection="The locking command did not answer as it should.",
        fix="Look at the message; install util-linux.",
    ),
}
