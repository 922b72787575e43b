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
    "fit-projector-unknown": Explanation(
        title="A file is no projector",
        cause="--projector names a language model, or a file of another kind.",
        detection="Its header names another architecture than clip.",
        fix="Name the mmproj file that the model's publisher keeps beside it.",
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
    "fit-partial": Explanation(
        title="The cards hold only a part of the model",
        cause="The model with its context needs more memory than the cards have; the rest is on the host.",
        detection="Layers are given to the cards as long as 1 GiB of each stays free.",
        fix="Take a smaller model, quantisation or context, or a larger card; `fit` shows what each gives.",
    ),
    "fit-tight": Explanation(
        title="A model leaves less memory free than it should",
        cause="All parts have room, but not the margin of the estimate and what is to stay free beside it.",
        detection="The estimate from the model's header against the memory of card and host.",
        fix="Take one of the possible ways that the message names; else watch the first start.",
    ),
    "fit-no-card": Explanation(
        title="Layers are asked for on a host without a card",
        cause="localai_gpu_layers is all or a number, and the runtime's build uses no card there.",
        detection="The host has no card that was passed through or found, or its runtime is the CPU build.",
        fix="Leave localai_gpu_layers at auto.",
    ),
    "fit-unknown": Explanation(
        title="Nobody knows whether a model fits",
        cause="Its header could not be read: no network, a server without ranges, another format.",
        detection="One or two range requests to where the model comes from.",
        fix="Make the source reachable from the controller; else name the layers for a card.",
    ),
    "fit-does-not-fit": Explanation(
        title="A model does not fit into this machine as wished",
        cause="A card or the host has less memory than weights, cache, buffers and margin need.",
        detection="Every part is worked out from the model's header; 1 GiB of each card is left free.",
        fix="Take one of the possible ways that the message names, or leave more to be chosen.",
    ),
}
