"""Errors about models: what a reference names, and how its file comes into a host's store."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "model-reference-invalid": Explanation(
        title="A model reference cannot be read",
        cause=(
            "It is no name of the catalogue and none of hf:ORG/REPO/FILE[@REVISION], "
            "https://HOST/FILE[#sha256=HEX] and file:PATH, or holds characters that do not belong there."
        ),
        detection="The reference is parsed before anything is asked or changed.",
        fix=(
            "Write a name that `localai-deploy model catalogue` lists, hf:ORG/REPO/FILE.gguf for a file of "
            "the model hub (@REVISION pins a branch, tag or commit), https://HOST/FILE.gguf#sha256=HEX for "
            "any other server, file:PATH for a file on this machine."
        ),
    ),
    "model-no-runtime": Explanation(
        title="No runtime of ours runs the model",
        cause="Its architecture is one that llama.cpp does not have, so nobody can convert it to GGUF.",
        detection="The catalogue says so of this model; nothing was asked or changed.",
        fix="Take a model that the message or `localai-deploy model catalogue` names, or the runtime named.",
    ),
    "model-quantization-unknown": Explanation(
        title="The catalogue does not have this quantization of the model",
        cause="The name is right, what stands behind its colon is not.",
        detection="The name is looked up before anything is asked or changed.",
        fix="Take one that the message lists, or name the file in full: hf:ORG/REPO/FILE.gguf.",
    ),
    "model-format-unsafe": Explanation(
        title="The model is in a format that can run code",
        cause=(
            "Pickled formats (.bin, .pt, .pth, .ckpt) execute what their author put in when they are loaded."
        ),
        detection="The file's name does not end in .gguf or .safetensors.",
        fix="Choose a GGUF or safetensors file of the same model.",
    ),
    "model-format-wrong": Explanation(
        title="A model file is not what its name says",
        cause=(
            "Its first bytes are those of something else: often a web page, a Git LFS pointer or an archive."
        ),
        detection=(
            "GGUF files begin with GGUF and a version, safetensors files with the length of a JSON header."
        ),
        fix="Open the address in a browser and look at what it gives; fetch the file itself.",
    ),
    "model-not-found": Explanation(
        title="The model does not exist where the reference points",
        cause=(
            "The repository, revision, file or address is misspelt or gone, or the repository is private."
        ),
        detection=(
            "The hub answers that repository, revision or entry is unknown; a web server answers 404 or 410."
        ),
        fix=(
            "Compare with the names that the message offers; for a private repository give a token "
            "(HF_TOKEN)."
        ),
    ),
    "model-gated": Explanation(
        title="The model is not open to you",
        cause=(
            "Its authors ask for their terms to be accepted, or the token may not read it, or none was sent."
        ),
        detection="The server answers 401 or 403.",
        fix=(
            "Accept the terms on the model's page and give a token that may read it (HF_TOKEN). A token "
            "goes to the hub or a mirror with https only, and never to another host that a redirect "
            "names."
        ),
    ),
    "model-ranges-refused": Explanation(
        title="The model's server does not give pieces of a file",
        cause="A proxy or an old server answers a range request with another range.",
        detection="Content-Range is missing or begins elsewhere than asked for.",
        fix="Fetch the file whole and name it by file:PATH, or use another mirror.",
    ),
    "hub-unreachable": Explanation(
        title="The model hub or the model's server does not answer",
        cause="No network, no name resolution, a proxy, or a server in trouble.",
        detection="The request for the file's size and hash failed or ended in an error of the server.",
        fix=(
            "Check the network; in a home without internet set localai_mirrors.huggingface to your own "
            "mirror."
        ),
    ),
    "model-hash-unknown": Explanation(
        title="The hub does not tell the file's SHA-256",
        cause=(
            "The file is small enough to be kept in plain git, or a mirror leaves out X-Linked-Etag or "
            "X-Repo-Commit."
        ),
        detection="The hub's answer has no commit or no SHA-256.",
        fix="Use a mirror that passes these headers on, or an https:// reference with #sha256=.",
    ),
    "model-hash-missing": Explanation(
        title="Nothing says which SHA-256 the model must have",
        cause="An https: reference without #sha256= names whatever the server gives today.",
        detection="Neither the reference nor an earlier pull tells a SHA-256.",
        fix=(
            "Add #sha256=HEX (64 lower-case hex digits, from the publisher), or accept the first "
            "download's with --trust-first-download: it is recorded on the host and demanded from then "
            "on."
        ),
    ),
    "model-hash-mismatch": Explanation(
        title="The model has another SHA-256 than expected",
        cause=(
            "The publisher replaced the file, the mirror's copy is damaged, or the expected value is wrong."
        ),
        detection="The whole file was hashed after it was fetched twice; it never got its final name.",
        fix=(
            "Compare the SHA-256 with the publisher's. When a trusted first download was replaced on "
            "purpose, remove the model from the store and pull it again."
        ),
    ),
    "model-file-missing": Explanation(
        title="The model file cannot be read",
        cause=(
            "A file: reference names a path that is not there or not readable on the machine that runs "
            "the command, or an upload to the host broke off."
        ),
        detection="Opening the file failed.",
        fix="Check the path; a relative one counts from where the command runs.",
    ),
    "model-no-space": Explanation(
        title="The model does not fit on the host's disk",
        cause=(
            "The file system of the model store has less room than the missing bytes and a reserve of 10 %."
        ),
        detection=(
            "Free space is looked at before the first byte; a disk that fills up meanwhile is noticed too."
        ),
        fix="Remove models that are not used, enlarge the disk, or choose a smaller quantization.",
    ),
    "model-pull-busy": Explanation(
        title="Another process works on this model",
        cause="A second pull or a removal of the same file is running.",
        detection="The file's lock in the model store is held.",
        fix="Wait until it has ended, then run the command again: what is there is not fetched again.",
    ),
    "model-download-failed": Explanation(
        title="The model could not be fetched",
        cause=(
            "The server kept answering with errors, closing the connection, stalling, or offering a "
            "file of another length than expected."
        ),
        detection="Several attempts in a row brought less than one MiB.",
        fix=(
            "Run it again later: it goes on where it stopped. When the length is wrong, look at the "
            "mirror's copy."
        ),
    ),
    "model-tls-failed": Explanation(
        title="The server's certificate is not trusted",
        cause="It is signed by a CA that the machine does not know, expired, or made for another name.",
        detection="TLS verification failed; nothing was sent.",
        fix="Add the CA of your mirror to the trust store of this machine and of the hosts.",
    ),
    "model-redirect-refused": Explanation(
        title="The server redirects to where nobody vouches for the answer",
        cause="A redirect leads from https to http, or to something that is not http at all.",
        detection="Every redirect's target is checked before it is followed.",
        fix="Name the file's final https address.",
    ),
    "model-store-missing": Explanation(
        title="The host has no model store",
        cause=(
            "The directory for models does not exist: the host was never deployed, or its disk is not "
            "mounted."
        ),
        detection="The directory was looked for before anything else.",
        fix="Mount the disk, or deploy the host.",
    ),
    "model-store-unwritable": Explanation(
        title="The model store cannot be used",
        cause="The directory belongs to another user, the file system is read-only or damaged.",
        detection="Reading, creating or renaming a file there failed.",
        fix=(
            "Look at the directory's owner and at the kernel's log; deploy the host again to restore "
            "ownership."
        ),
    ),
    "model-job-invalid": Explanation(
        title="The model store got a job it cannot read",
        cause="A playbook was run by hand with a value of model_store_models that is malformed.",
        detection="The job is checked before anything is looked at.",
        fix="Compare with the role's argument specification.",
    ),
}
