"""Errors about fitting a model to a machine."""

from __future__ import annotations

from localai_deploy.explanations import Explanation

EXPLANATIONS: dict[str, Explanation] = {
    "fit-model-unknown": Explanation(
        title="Nothing can be said about a model's needs",
        cause="The file names no architecture, or lacks the parts that every language model has.",
        detection="The metadata and the tensor table have no embedding table or no blocks.",
        fix=(
            "Choose another model; a safe bound is the whole file's size, the cache that its card states, "
            "and 1 GiB."
        ),
    ),
    "fit-wish-impossible": Explanation(
        title="A server cannot be started like this",
        cause="Options contradict each other, such as a quantised value cache without flash attention.",
        detection="The runtime refuses the same combination when it starts.",
        fix="Change one of the options that the message names.",
    ),
    "fit-measurement-invalid": Explanation(
        title="A measured speed cannot be used",
        cause="It is no positive number of tokens/s, or a calibration file is not one that was printed here.",
        detection="The figure is held against what the formula says of the same model on the same machine.",
        fix="Give the tokens/s of generation from the server's log; name a card whose bandwidth is known.",
    ),
    "fit-nothing-offered": Explanation(
        title="A repository offers no GGUF model",
        cause="It holds the original weights, or a model for another runtime.",
        detection="The hub's list of its files has no complete *.gguf.",
        fix="Look for a repository of the same model named …-GGUF, or name one file.",
    ),
    "fit-does-not-fit": Explanation(
        title="A model does not fit into this machine as wished",
        cause="A card or the host has less memory than weights, cache, buffers and margin need.",
        detection="Every part is worked out from the model's header; 1 GiB of each card is left free.",
        fix="Take one of the possible ways that the message names, or leave more to be chosen.",
    ),
}
