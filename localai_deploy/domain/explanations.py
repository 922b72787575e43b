"""Errors and findings that follow from input and facts alone."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "host-name-invalid": Explanation(
        title="A host's name cannot be used",
        cause=(
            "It holds characters that no host name has; names go to ssh and into files, so "
            "nothing else is let through."
        ),
        detection="The name is checked before any connection.",
        fix=("Write HOST or USER@HOST, where HOST is a name, an address or an alias of ~/.ssh/config."),
    ),
    "host-key-invalid": Explanation(
        title="A fingerprint cannot be read",
        cause="It is not SHA256: and 43 characters.",
        detection="The value of --accept-host-key or localai_host_key is checked first.",
        fix="Print it on the host itself: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
    ),
    "archive-reference-invalid": Explanation(
        title="A reference to a runtime's archive cannot be used",
        cause="It is not https, has no SHA-256, or its file's name does not tell the build.",
        detection="localai_runtime_archives is checked before a host is looked at.",
        fix="Write https://HOST/PATH/llama-b11191-….tar.gz#sha256=HEX, as a release's page has the hash.",
    ),
    "setting-invalid": Explanation(
        title="A setting has a value that it cannot have",
        cause="A typo, or a value of another kind.",
        detection="Every value of flags and inventory is checked before a host is looked at.",
        fix=(
            "See `localai-deploy config show` for all settings, and correct the place that the message names."
        ),
    ),
    "mirror-invalid": Explanation(
        title="localai_mirrors cannot be read",
        cause="A mirror's name is unknown, or its value is no http(s) URL.",
        detection="The mapping is checked before a host is looked at.",
        fix="Use the names conda, huggingface, pypi, miniforge, images, apt with base URLs.",
    ),
    "os-unsupported": Explanation(
        title="The host's system is not supported",
        cause="The roles are written for Debian 12 and 13, Ubuntu 22.04 and 24.04.",
        detection="/etc/os-release of the host.",
        fix="Use a supported system.",
    ),
    "architecture-unsupported": Explanation(
        title="The host's processor is not supported",
        cause="The runtime's packages exist for x86_64 and aarch64.",
        detection="uname -m on the host.",
        fix="Use another host.",
    ),
    "systemd-missing": Explanation(
        title="systemd does not run on the host",
        cause="The service is a systemd unit; containers often run without.",
        detection="/run/systemd/system on the host.",
        fix="Install systemd-sysv and boot with it. On WSL `up` switches it on (wsl-systemd-off).",
    ),
    "python-missing": Explanation(
        title="The host has no Python",
        cause="Ansible's modules run in the host's own Python 3.",
        detection="python3 is not on the host's path.",
        fix="sudo apt install python3",
    ),
    "record-unreadable": Explanation(
        title="The deployment record cannot be read",
        cause="Somebody edited it, a disk was full, or another version wrote it.",
        detection="/etc/localai-deploy/deployment.json is no record of this version.",
        fix="Run up again where the message says so; else move the file away by hand.",
    ),
    "port-taken": Explanation(
        title="Another program listens on the API's port",
        cause="A port serves one program.",
        detection="The host's listening sockets and the units they belong to.",
        fix="Choose another port with --port, or stop that program.",
    ),
    "runtime-present": Explanation(
        title="The host already runs another inference runtime",
        cause="Two runtimes compete for memory and card, and one of them was somebody's choice.",
        detection="Units, processes and binaries of known runtimes.",
        fix="Remove it yourself, or choose another host; it is never overwritten.",
    ),
    "replica-out-of-reach": Explanation(
        title="The gateway cannot reach a host that it shall give requests to",
        cause="That host's API listens on loopback, as it does unless told otherwise, or on all addresses.",
        detection="localai_bind of each host of group inference, before anything is changed.",
        fix=(
            "Set localai_bind of that host to its address on the network that both are on, and "
            "localai_clients to the gateway's address there: its service then lets nobody else through."
        ),
    ),
    "gateway-left": Explanation(
        title="A gateway runs on a host that is not asked to be one",
        cause="It was taken out of group gateway, or the command was given no inventory that has it there.",
        detection="Unit localai-gateway is on the host, and the inventory's groups.",
        fix=(
            "Nothing is done to it: its clients may still use it. Put the host back into the group, or run "
            "`down` and `up` of it: down takes the gateway away, its key too, and leaves the models."
        ),
    ),
    "gateway-several": Explanation(
        title="There is more than one gateway",
        cause="Group gateway of the inventory has several hosts.",
        detection="The inventory's groups.",
        fix="Leave one host in it.",
    ),
    "gateway-not-inference": Explanation(
        title="The gateway's host serves no model",
        cause="It is in group gateway, but not in group inference.",
        detection="The inventory's groups.",
        fix="Add it to group inference, or run role gateway by itself with plain Ansible (docs/gateway.md).",
    ),
    "gateway-model-open": Explanation(
        title="A gateway does not know what a host will serve",
        cause="The host's inventory names no model, or a whole repository of which the host's card decides.",
        detection="localai_models of the hosts of group inference, where there is a group gateway.",
        fix="Name a file in localai_models, or take the host out of group inference.",
    ),
    "bind-without-tls": Explanation(
        title="The API would be open on the network without TLS",
        cause=(
            "Key and prompts would cross the network in clear text, and open inference "
            "servers are found within hours."
        ),
        detection="localai_bind or --bind is no loopback address.",
        fix=(
            "Leave it on 127.0.0.1 and use the `ssh -L` line of the report. On a network that you trust, "
            "name in localai_clients who may reach it (localai_api_gateway_clients for the gateway)."
        ),
    ),
    "mirror-unauthenticated": Explanation(
        title="A mirror is reached over plain http",
        cause=(
            "Files are checked by hash, but hashes that are looked up at the mirror are only "
            "as good as the network."
        ),
        detection="A URL in localai_mirrors begins with http://.",
        fix="Serve the mirror over https.",
    ),
    "apt-lock": Explanation(
        title="Another program holds the package database",
        cause="First-boot upgrades and unattended-upgrades hold it for minutes.",
        detection="A lock of apt or dpkg is held.",
        fix="Nothing to do: the base role waits up to five minutes.",
    ),
    "packages-broken": Explanation(
        title="The package database is not in order",
        cause="An installation was cut off, or a package's own script failed; until then apt refuses others.",
        detection="dpkg's states of packages, and its journal, while nobody holds the package database.",
        fix="sudo dpkg --configure -a, then sudo apt-get --fix-broken install; its output names the package.",
    ),
    "no-space": Explanation(
        title="The disk is too small",
        cause="Packages are unpacked and models are written whole beside a reserve of 10 %.",
        detection="Free bytes at the nearest existing directory, against what is still to come.",
        fix="Make room, or mount a larger disk there.",
    ),
    "memory-short": Explanation(
        title="The model is larger than the memory",
        cause="It is read from disk for every token then.",
        detection="The file's size against MemTotal.",
        fix="Choose a smaller quantisation or model.",
    ),
    "lock-variant-wrong": Explanation(
        title="The environment's lock is for another kind of build",
        cause="The lock was solved without (or with) a card.",
        detection="The build string of the server's package in the lock.",
        fix="Run up with --update to solve it anew.",
    ),
    "host-missing": Explanation(
        title="No host is named",
        cause="Without an inventory there is nothing to choose from; or a group or pattern has no host.",
        detection="The command line, and the inventory.",
        fix="Name an SSH destination or localhost, or give --inventory; `config show` lists its hosts.",
    ),
    "host-not-in-inventory": Explanation(
        title="A name is not in the inventory",
        cause="A typo, or another inventory was meant.",
        detection="The name, in a pattern or --limit too, is neither a host nor a group.",
        fix="localai-deploy config show -i INVENTORY lists the hosts.",
    ),
    "inventory-unreadable": Explanation(
        title="The inventory cannot be read",
        cause="It does not exist, is no YAML or INI, or its vault needs a password.",
        detection="Ansible's own reader.",
        fix="See the reason in the message; for vaulted files give --vault-password-file.",
    ),
    "inventory-host-taken": Explanation(
        title="The inventory already has an entry of that name",
        cause="Entries that people wrote are never changed, nor those of a VM on another node.",
        detection="The inventory's hosts and groups, before anything is made.",
        fix="Go by the entry (up -i DIR HOST), choose another --name, or another directory.",
    ),
    "inventory-file-foreign": Explanation(
        title="A file of the inventory stands where ours would be",
        cause=(
            "proxmox_vms.yml and host_vars/VM/localai-deploy.yml are ours; a file host_vars/VM.yml would be "
            "hidden from Ansible by the directory host_vars/VM."
        ),
        detection="The file has not the head that we write, or has the host's name.",
        fix="Move it as the message says; its values stay in force.",
    ),
    "inventory-changed": Explanation(
        title="Somebody else wrote into the inventory at the same time",
        cause="Two runs at once, or an editor.",
        detection="A file of ours is not as it was when this run read it; none was written.",
        fix="Run the same command again.",
    ),
    "inventory-not-a-directory": Explanation(
        title="The inventory is no directory",
        cause="Addresses and host keys of VMs are kept in files of their own, beside the inventory's others.",
        detection="The value of --inventory.",
        fix="Make a directory, move the inventory's file there as hosts.yml, and name it with -i.",
    ),
    "host-is-node": Explanation(
        title="A Proxmox node is no host to install something on",
        cause="The name is in the inventory's group proxmox_nodes: VMs are made on it.",
        detection="The groups of the inventory.",
        fix="Name a VM: --node NODE --name VM, or a host with localai_node in the inventory.",
    ),
    "inventory-exists": Explanation(
        title="An inventory is not begun where something is already",
        cause="The directory that `init` was given exists.",
        detection="The directory, before anything is asked and again when the files are written.",
        fix="Name a new directory; or go on with the one that is there.",
    ),
    "node-unknown": Explanation(
        title="A new inventory lacks the node or the VM that it speaks of",
        cause="A VM was named for a node without an address, or a card for no VM.",
        detection="`init` holds its flags or answers against each other.",
        fix="Add --node NAME=ADDRESS, or --vm NAME=NODE, or correct the typo.",
    ),
    "inventory-name-twice": Explanation(
        title="The inventory says a thing twice, and differently",
        cause=(
            "A host, group or variable stands twice in one mapping, of which only the last counts; or two "
            "machines have one name, which Ansible takes for one host."
        ),
        detection="`config check` reads the inventory's files themselves.",
        fix="Give one of them another name, or take it out, at the place that the message names.",
    ),
    "inventory-file-unused": Explanation(
        title="A file of variables belongs to nobody",
        cause="The file in host_vars or group_vars has nearly the name of a host or group: a typo.",
        detection="`config check` compares the names of the files with those of hosts and groups.",
        fix="Rename the file after the host or group, or remove it.",
    ),
    "variable-unknown": Explanation(
        title="The inventory sets a variable that does not exist",
        cause=("Variables that begin with localai_ belong to this tool, so an unknown one is a typo."),
        detection="Every localai_ variable of a host is looked up in the table of settings.",
        fix="Correct the file and line that the message names.",
    ),
    "size-invalid": Explanation(
        title="The size of a memory cannot be read",
        cause="It is no positive number with a unit behind it.",
        detection="Sizes are read before anything is looked at.",
        fix="Write 8GiB or 24576MiB; 8GB is 8 000 000 000 bytes; a bare number counts GiB.",
    ),
}
