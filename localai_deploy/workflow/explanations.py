"""Errors of whole runs."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "archive-unreachable": Explanation(
        title="A runtime's release archive cannot be had",
        cause="Its address is wrong, its release is gone, or its server does not answer.",
        detection="Its size is asked for before anything is changed; the reason is the server's answer.",
        fix="Name another one in localai_runtime_archives, or a mirror of it: localai_mirrors.github.",
    ),
    "vm-not-an-entry": Explanation(
        title="A play of plain Ansible does not make VMs",
        cause="The inventory says on which node the VM is to be, but not yet how Ansible reaches it.",
        detection="playbooks/site.yml: localai_node is set for the host, ansible_host is not.",
        fix="localai-deploy up NAME --write-inventory DIR makes the VM, and an entry that Ansible reaches.",
    ),
    "driver-not-ours": Explanation(
        title="No driver on the host was installed by us",
        cause="The host has no card, runs in WSL, or had its driver before.",
        detection="The record of role nvidia_driver on the host.",
        fix="Change the driver with what installed it.",
    ),
    "driver-not-upgraded": Explanation(
        title="There is no version of the driver to go back to",
        cause="It is still the one that was installed first.",
        detection="The record of role nvidia_driver on the host.",
        fix="`driver upgrade HOST` comes first.",
    ),
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
    "model-not-stored": Explanation(
        title="The model is not in the host's store",
        cause="A typo, or it was removed.",
        detection="The store's own list.",
        fix="localai-deploy model list shows what is there.",
    ),
    "model-in-use": Explanation(
        title="The model belongs to the deployment",
        cause=("Removing or replacing it would break the service, or it would come back with the next run."),
        detection="The host's deployment record.",
        fix="Deploy another model first.",
    ),
    "host-busy": Explanation(
        title="A task of an earlier run is still at work on the host",
        cause="A run that was killed or cut off leaves the task it was at, which goes to its end.",
        detection="Processes of tasks bear a mark in their environment; they are waited for, a while.",
        fix="Look at the processes that the message names; end them if they hang.",
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
    "card-taken-over": Explanation(
        title="Another run took the card's lease over",
        cause="The same move was run a second time, or the card was released, while this run was at it.",
        detection="The lease names another run; it is read before every step of a move.",
        fix="localai-deploy gpu list shows who has the card now; run again if it is to go elsewhere.",
    ),
    "card-move-undone": Explanation(
        title="A card was not moved, and all is as it was before",
        cause="The VM that was to get it did not start, or runs without it.",
        detection="The VM's start and config, and what its guest agent tells of PCI devices.",
        fix="Remove the cause that is named, then run again.",
    ),
    "card-move-stuck": Explanation(
        title="A card was not moved, and its old VM did not get it back",
        cause="Two things went wrong one after the other; both are named.",
        detection="The way back failed at a step.",
        fix="Remove the causes. The same command goes on with the move; a move to the old VM goes back.",
    ),
    "card-not-there": Explanation(
        title="A VM runs without the card that it was given",
        cause="It was running when the card was put into its config, or the guest does not see the device.",
        detection="The config that the VM was started with; /proc/bus/pci/devices, through the guest agent.",
        fix="Shut the VM down and start it again; look at its console for messages about PCI.",
    ),
    "card-foreign": Explanation(
        title="A VM that is not ours has a part in it",
        cause="It would be shut down or started, or its config be changed.",
        detection="Pool, tag and block say which VMs are ours.",
        fix="Give --foreign when that is meant; rights for that one VM are enough, lacking ones are named.",
    ),
}
