"""Findings about hosts that are WSL."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "wsl-version-1": Explanation(
        title="The distribution runs under WSL 1",
        cause="WSL 1 translates system calls: it has no kernel of its own, no systemd, no card.",
        detection="The kernel calls itself …-Microsoft.",
        fix="In Windows: wsl.exe --set-version DISTRIBUTION 2",
    ),
    "wsl-systemd-off": Explanation(
        title="systemd is off in this WSL distribution",
        cause="WSL starts it only where /etc/wsl.conf says systemd=true under [boot].",
        detection="/run/systemd/system and /etc/wsl.conf on the host.",
        fix=(
            "up writes that line (the others stay, the old file is kept, down restores it) and ends; then "
            "wsl.exe --terminate DISTRIBUTION in Windows (WSL 0.67.6 or newer), open it, and run up again."
        ),
    ),
    "wsl-restart-needed": Explanation(
        title="The WSL distribution has to be restarted",
        cause="/etc/wsl.conf is read when Windows starts the distribution, not when Linux would reboot.",
        detection="/etc/wsl.conf switches systemd on, and systemd does not run.",
        fix=(
            "In Windows: wsl.exe --terminate DISTRIBUTION, then open it again. For SSH its server must come "
            "up by itself: sudo systemctl enable ssh. If systemd still does not run: wsl.exe --update."
        ),
    ),
    "wsl-windows-drive": Explanation(
        title="Our files would lie on a Windows drive",
        cause="/mnt/c and its like are Windows' file system behind a network protocol.",
        detection="The file system that our directories lie on.",
        fix="Let them lie on the distribution's own disk; that one grows by itself.",
    ),
    "wsl-networking": Explanation(
        title="Windows does not reach the API",
        cause="The API listens on loopback, which Windows shares by forwarding or mirrored networking only.",
        detection="networkingMode and localhostForwarding in the Windows user's .wslconfig.",
        fix="networkingMode=mirrored under [wsl2] in .wslconfig, then wsl.exe --shutdown.",
    ),
    "wsl-memory": Explanation(
        title="WSL has less memory than the model wants",
        cause="Windows gives WSL half of its memory unless .wslconfig says otherwise.",
        detection="MemTotal against the model's size and a quarter more.",
        fix="memory=24GB under [wsl2] in .wslconfig, then wsl.exe --shutdown; or a smaller model.",
    ),
}
