"""Errors about GGUF files and what they hold."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "gguf-truncated": Explanation(
        title="A GGUF file ends too early",
        cause="A download broke off, or the disk it was written to was full.",
        detection="The header names more bytes than the file has.",
        fix="Fetch the file again; localai-deploy model pull compares its SHA-256.",
    ),
    "gguf-version-unknown": Explanation(
        title="A GGUF file has a version that is not read",
        cause=(
            "Versions 2 and 3 are in use. Version 1 was given up in 2023 and no current runtime loads "
            "it; a higher number is newer than this program; a swapped one is a big-endian file."
        ),
        detection="The four bytes after GGUF.",
        fix="Take a file that was converted with a current llama.cpp, or update this program.",
    ),
    "gguf-header-invalid": Explanation(
        title="A GGUF file's header cannot be right",
        cause=(
            "Counts, lengths, types or offsets contradict each other or go beyond any real model: the "
            "file is damaged, or was made to harm the programs that load it."
        ),
        detection="Each count and length is checked before anything of that size is read or kept.",
        fix="Fetch the file again from its publisher and compare its SHA-256; do not load this one.",
    ),
    "gguf-split-incomplete": Explanation(
        title="Parts of a split model do not belong together",
        cause="A part is missing, is another model's, or the reference names a part other than the first.",
        detection="Each part says its number and how many there are; names end in -00001-of-0000N.gguf.",
        fix="Name the first part, and have all parts beside it.",
    ),
}
