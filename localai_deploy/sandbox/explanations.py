"""Errors of the embedded node as a thing that is started and stopped."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "sandbox-not-running": Explanation(
        title="The sandbox node does not run",
        cause="Nobody started it, or another user did: its record and its guests are that user's.",
        detection="There is no connection record in the runtime directory.",
        fix="localai-deploy sandbox start",
    ),
    "sandbox-died": Explanation(
        title="The sandbox's process is gone",
        cause="It was killed, or the machine ran out of memory.",
        detection="Its connection record is there, but nobody holds its lock.",
        fix="localai-deploy sandbox stop clears away what it left; then start it again.",
    ),
    "sandbox-record-unreadable": Explanation(
        title="The sandbox's connection record cannot be read",
        cause="Another version wrote it, or it was changed by hand; others may read or write it.",
        detection="The file's mode, owner and content.",
        fix="localai-deploy sandbox stop clears it away; then start it again.",
    ),
    "sandbox-directory-unusable": Explanation(
        title="There is no private place for the sandbox's files",
        cause="The directory is somebody else's, others may enter it, or it cannot be made.",
        detection="Before anything is started.",
        fix="Name a directory of mode 0700, or one that is not there yet, in LOCALAI_DEPLOY_SANDBOX_DIR.",
    ),
    "sandbox-other-settings": Explanation(
        title="A sandbox with other settings runs",
        cause="A user has one sandbox at a time, and its settings cannot be changed while it runs.",
        detection="The options are compared with what the running one was started with.",
        fix="Stop it first, or start it without these options.",
    ),
    "sandbox-held": Explanation(
        title="Another process is the sandbox",
        cause="Two were started in the same runtime directory.",
        detection="A lock in the runtime directory.",
        fix="Use the one that runs (localai-deploy sandbox status), or stop it.",
    ),
    "sandbox-needs-root": Explanation(
        title="The sandbox's guests need root",
        cause="A network namespace and mounts are made for them.",
        detection="Before anything is made.",
        fix="Run it with sudo, or with --body bare, which has no guests.",
    ),
    "sandbox-packages-missing": Explanation(
        title="Debian packages for the sandbox's guests are missing",
        cause="Each kind of guest needs some tools of this machine.",
        detection="The commands that it uses are looked for before anything is made.",
        fix="Install what the message names.",
    ),
    "sandbox-start-failed": Explanation(
        title="The sandbox could not be started",
        cause="Building its guests' system failed, or the machine refused a namespace or a mount.",
        detection="Its process ended, or its API does not answer. All that it had made is removed.",
        fix="Look at the reason in the message; a Debian mirror that is near: --debian-mirror URL.",
    ),
    "sandbox-reset-failed": Explanation(
        title="The sandbox could not be reset",
        cause="A guest did not end, or the sandbox's process is busy or gone.",
        detection="It did not say in time that it begins anew.",
        fix="localai-deploy sandbox stop, then start it again.",
    ),
    "sandbox-remains": Explanation(
        title="Not all of the sandbox could be removed",
        cause="A process does not end, or something uses its mounts or files.",
        detection="What it made is looked for in the kernel's own lists after everything was removed.",
        fix="End what the message names, then run localai-deploy sandbox stop again.",
    ),
    "sandbox-cache-in-use": Explanation(
        title="The sandbox's cache is in use",
        cause="Another sandbox of this machine runs guests over the same cached system.",
        detection="A lock in the cache.",
        fix="Stop that sandbox first, or give each a cache of its own with --cache.",
    ),
    "sandbox-forward-invalid": Explanation(
        title="An address for guests cannot be read",
        cause="--forward takes an IPv4 address and a port.",
        detection="The command line.",
        fix="Write it like 192.0.2.10:8080.",
    ),
    "sandbox-mirror-invalid": Explanation(
        title="The Debian archive's URL cannot be read",
        cause="--debian-mirror takes the base URL of an archive, over http or https.",
        detection="The command line.",
        fix="Write it like http://deb.debian.org/debian.",
    ),
    "sandbox-hardware-invalid": Explanation(
        title="A sandbox's hardware cannot be read",
        cause="A typo in the file, or a name that is neither a file nor shipped.",
        detection="Every key and value is checked before anything starts.",
        fix="The format and the shipped names: docs/sandbox-hardware.md.",
    ),
}
