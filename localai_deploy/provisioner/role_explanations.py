"""Errors that the roles' own programs find on a host."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "conda-package-wrong": Explanation(
        title="A conda package is not the locked one",
        cause="The channel, or a mirror of it, serves a damaged file or another one than was locked.",
        detection="The archive's SHA-256 against the lock's, while it is unpacked.",
        fix="Repair the mirror, or make a new lock on purpose with `up --update`.",
    ),
    "conda-install-failed": Explanation(
        title="The conda packages cannot be installed",
        cause="The channel does not answer, lacks a locked package, or the disk is full.",
        detection="The installer's own error, given as the reason.",
        fix="Run it again when the channel answers; a package that is gone for good needs a new lock.",
    ),
    "conda-environment-wrong": Explanation(
        title="The environment is not what the lock says",
        cause="An installation ended without an error, but packages or files differ.",
        detection="The prefix's package records and file hashes against the lock.",
        fix="Run it again; if it stays, report it with the names that the message gives.",
    ),
    "conda-prefix-foreign": Explanation(
        title="The directory for the environment holds something else",
        cause="It is not empty, and it is no conda environment.",
        detection="It has no conda-meta.",
        fix="Move it away.",
    ),
    "archive-unusable": Explanation(
        title="A runtime's release archive cannot be used",
        cause="It is damaged, holds no llama-server, or holds something that leads out of its directory.",
        detection="While it is unpacked: files and links to a neighbour are taken, no more. What ran stays.",
        fix="Name another archive in localai_runtime_archives; the first one must hold llama-server.",
    ),
    "archive-without-cuda": Explanation(
        title="A release's archives have no CUDA for the planned card",
        cause="They were built for the CPU or for another major version of CUDA, or CUDA's libraries lack.",
        detection="libggml-cuda.so and the libraries that it names, before anything is switched to them.",
        fix="Name llama-…-cuda-… and cudart-llama-…-cuda-… of one release under the planned major.",
    ),
    "runtime-not-accepted": Explanation(
        title="The server in the environment is not accepted",
        cause="It was altered, belongs to another package than the locked one, or does not run here.",
        detection="Its package's record, its SHA-256 and `--version`.",
        fix="`up` restores an altered file; a server that does not run says why in the message.",
    ),
    "driver-build-failed": Explanation(
        title="The driver's kernel modules were not built",
        cause="The kernel is newer than the driver, headers or compiler are missing, disk or memory ran out.",
        detection="DKMS' state for the running kernel, and the first errors of its make.log.",
        fix="Use a newer branch of the driver (localai_driver: nvidia), or the distribution's own kernel.",
    ),
    "driver-key-wrong": Explanation(
        title="The key of NVIDIA's package source is not the pinned one",
        cause="NVIDIA has a new key, or something else answers at the address.",
        detection="The key's fingerprint, before the source is written.",
        fix="Compare with NVIDIA's announcement; set nvidia_driver_key_fingerprint only to what that says.",
    ),
    "driver-unsigned": Explanation(
        title="The driver's modules have no signature",
        cause="DKMS did not find the key that is enrolled, or openssl was missing when it built.",
        detection="modinfo of every module that DKMS installed, where Secure Boot is on.",
        fix="See mok_signing_key in /etc/dkms/framework.conf; `driver key HOST` makes it where that looks.",
    ),
    "driver-version-gone": Explanation(
        title="The version to go back to is no longer to be had",
        cause="Distributions keep only the newest version, and apt's cache was emptied.",
        detection="The package source and /var/cache/apt/archives, before anything is changed.",
        fix="The driver stays. NVIDIA's own source keeps former versions, snapshot.debian.org Debian's.",
    ),
    "service-died": Explanation(
        title="The service does not stay up",
        cause="The server ended while it was waited for: a taken port, too little memory, a bad argument.",
        detection="systemd's state of the unit while the server is asked for its health.",
        fix="Read the journal's lines in the message; free the port or choose another model or context.",
    ),
}
