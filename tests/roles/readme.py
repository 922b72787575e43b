"""Each role's README, made from its meta data: ``python -m tests.roles.readme`` writes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from tests.roles.driver import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

NAMES = tuple(sorted(path.name for path in ROLES.iterdir() if path.is_dir()))

NOTES = {
    "base": """
Runs before all others. The first thing it writes is `deployment.json`, the last thing that `uninstall`
removes. What apt really added is told from the package lists before and after, also when a run was cut off
in between, and kept in `installed-packages.json`; `uninstall` removes exactly that, less what something else
on the host needs by then. An account that was there before is neither changed nor removed.

On WSL without systemd it sets `systemd=true` under `[boot]` of `/etc/wsl.conf`, keeps the file as it was, and
fails with what to do in Windows; after that restart it goes on. `uninstall` puts the file back, or takes back
that line alone where somebody changed the file since.
""",
    "conda": """
Compares `conda-meta` and the files themselves with the lock: what is missing, foreign, damaged or of another
archive is installed anew, and only that. What is no program and larger than 64 MiB is compared by size. A
prefix without one good package is made from nothing; a directory that is no conda environment is refused.
Nothing of the rattler provider stays on the host. An archive whose SHA-256 differs is refused.

The provider `archives` unpacks tar archives of a runtime's releases side by side into a new directory, laid
out and recorded as an environment, and makes the prefix a link to it in one step. An archive may hold files
and links to neighbours only; for CUDA it must bring `libggml-cuda.so` and those of CUDA's libraries that this
needs, of the right major.
""",
    "gateway": """
[LiteLLM](https://docs.litellm.ai)'s proxy in a Python environment of its own; `files/requirements.in` tells
how its lock is made, and pip takes nothing that is not in it by hash. It runs by role `service`, as a user
that lives as long as the service, and may talk with loopback, the replicas and `gateway_clients` alone. Of
LiteLLM's paths it serves `/v1/models`, `/v1/chat/completions`, `/v1/completions` and `/v1/embeddings`, and
`/health/liveliness` without a key.

Each replica's key is read on its host (a host of the same inventory) and written on the gateway's, readable
by root; where that host cannot be asked, the key that was taken before stays. A request that fails is given
to a replica anew. The first failure takes a replica out, and so does a look at its health: a completion of
one token every `gateway_health_interval_s`. One that answers late is busy and stays in; one that takes no
connection for three seconds is down. Servers whose `model` is the same are replicas of each other.
""",
    "llama_cpp": """
Changes nothing but its record: `llama-server` must belong to the locked package, have the hash that was
recorded when it was installed, and answer `--version` as an unprivileged user.
""",
    "model_store": """
`files/model_store.py` does the work on the host, as `model_store_user`: it resumes, checks the SHA-256 before
the final name appears, keeps free space, and holds a lock. The pull runs detached from the connection; the
task *Follow the pull* shows its progress, and a pull that a cut-off run left behind is waited for. The token
reaches the host in one file in memory that is gone before the pull begins.

With `model_store_cache: NAS` a host asks NAS first, a host of the same play that pulls before it: for as
long as the role runs, NAS gives the models of its store (`files/model_cache.py`, a transient unit) over TLS
to who bears the run's key; gated models only to hosts with the token that NAS has, or if their origin is open
by now. Set it in the inventory, where hosts see each other's variables. What NAS does not have or give comes
from the origin.
""",
    "nvidia_driver": """
The plan says which packages (`nvidia_driver_packages`); without any, and inside WSL, nothing is installed.
Components that the distribution's own sources leave out are switched on beside them, with the same address
and key. NVIDIA's source is written only after its key was found to have the pinned fingerprint. Headers are
those of the running kernel and of its flavour. A failed build ends the role with the cause out of DKMS'
`make.log`. Then the packages are held and pinned to their branch; `tasks_from: upgrade` takes the newest of
the branch, `tasks_from: rollback` goes back to the version before that, from the source or, where that has it
no more, from apt's cache; the driver stays there until the next upgrade. Both change nothing the second time.
The module is loaded when a card is on the bus; the host is rebooted only if another module holds it.

For Secure Boot, `tasks_from: key` makes the key that DKMS signs with, and tells what a person has to do at
the console; a module that is not signed with `nvidia_driver_secure_boot_key` ends the role.
""",
    "service": """
The key reaches the server by `LoadCredential=`; the unit refuses to start with an empty key file. Without
`service_gpu_devices` the server sees no device, and on a loopback address no other traffic. It is restarted
when the unit, the key, the executable or a path of `service_read_only_paths` is newer than its process, so
also after a run that was cut off before the restart. The wait ends with the journal's last lines when the
server does not stay up, and counts only an answer on a socket of the server itself.
""",
    "vfio": """
For nodes, and for themselves alone: `playbooks/node.yml`. A script in the initramfs sets
`driver_override` before udev starts, so no display driver is ever asked. It goes by address and never by
vendor: of two equal cards one can stay with the node. A device whose id is not the one written down is
left alone, as adding a card may renumber the bus. Kernel parameters go where the boot loader reads them:
a drop-in for GRUB (entries for recovery stay without them), or `/etc/kernel/cmdline` for systemd-boot,
which proxmox-boot-tool then copies. What was there before is kept in `vfio_record_dir`. A run that was
cut off is finished by the next one, or taken back by `uninstall`.
""",
}


def readme(role: str) -> str:
    """The README's text."""
    entries = yaml.safe_load((ROLES / role / "meta" / "argument_specs.yml").read_text())["argument_specs"]
    lines = [f"# {role}", "", entries["main"]["short_description"], NOTES[role]]
    lines += ["No facts are needed. `become` comes from the play.", "", *_table(entries["main"]["options"])]
    undo, options = entries["uninstall"]["short_description"], entries["uninstall"]["options"]
    taken = ", ".join(f"`{name}`" for name in options)
    lines += ["", f"`tasks_from: uninstall`: {undo} Takes {taken}."]
    return "\n".join(lines) + "\n"


def _table(options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield "| variable | default | meaning |"
    yield "| --- | --- | --- |"
    for name, option in options.items():
        default = "required" if option.get("required") else f"`{json.dumps(option['default'])}`"
        yield f"| `{name}` | {default} | {' '.join(_sentences(option['description']))} |"


def _sentences(description: str | list[str]) -> Iterable[str]:
    return [description] if isinstance(description, str) else description


def main() -> None:
    """Write all of them."""
    for role in NAMES:
        (ROLES / role / "README.md").write_text(readme(role))


if __name__ == "__main__":
    main()
