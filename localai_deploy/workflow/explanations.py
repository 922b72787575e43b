"""Errors of whole runs."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "channel-unreachable": Explanation(
        title="The conda channel cannot be read",
        cause="No network, a wrong mirror, or a server that answers with errors.",
        detection="Fetching the channel's index failed.",
        fix="Check the network and localai_mirrors.conda.",
    ),
    "environment-unsolvable": Explanation(
        title="No set of packages fits",
        cause=(
            "The channel has no build for this platform or variant, or it needs a newer libc "
            "than the host has."
        ),
        detection="The solver's own words are in the message.",
        fix="Choose another channel or host system.",
    ),
    "confirmation-needed": Explanation(
        title="A question could not be asked",
        cause="Input or output is no terminal, and --yes was not given.",
        detection="Before anything is changed.",
        fix="Read the plan, then run again with --yes.",
    ),
    "not-a-terminal": Explanation(
        title="A password could not be asked for",
        cause="Input is no terminal.",
        detection="Before any connection.",
        fix="Put ansible_become_password into a vaulted inventory file.",
    ),
    "usage": Explanation(
        title="The command line cannot be understood",
        cause="A typo in a command or option.",
        detection="The command line is parsed first.",
        fix="See --help of the command.",
    ),
    "explanation-unknown": Explanation(
        title="There is no such error id",
        cause="A typo.",
        detection="The catalogue.",
        fix="localai-deploy explain lists all.",
    ),
    "not-deployed": Explanation(
        title="Nothing of ours is on the host",
        cause="It was never deployed, or down took it away.",
        detection="There is no deployment record.",
        fix="Run up.",
    ),
    "nothing-planned": Explanation(
        title="The deployment could not be resolved",
        cause="A blocker stood in the way.",
        detection="The plan names it.",
        fix="Remove the blocker first.",
    ),
    "model-in-use": Explanation(
        title="The model belongs to the deployment",
        cause=("Removing or replacing it would break the service, or it would come back with the next run."),
        detection="The host's deployment record.",
        fix="Deploy another model first.",
    ),
    "left-over": Explanation(
        title="Something of ours is still on the host after down",
        cause="A step failed or was cut off.",
        detection="The host is looked at again after the removal.",
        fix="Run down again.",
    ),
    "host-lost": Explanation(
        title="The host went away during a step",
        cause="Network, power or SSH server.",
        detection="Ansible could not reach it any more.",
        fix="Bring it back and run the same command: it goes on from there.",
    ),
    "step-failed": Explanation(
        title="A step failed on the host",
        cause="See the task and its message.",
        detection="A task of a role ended with an error.",
        fix="Remove the cause and run the same command: what is done stays done.",
    ),
    "verification-failed": Explanation(
        title="The deployment does not do what it should",
        cause="See the failed checks.",
        detection="The verifier's checks on the host.",
        fix="Each failed check names what it saw; up repairs what was changed by hand.",
    ),
}
