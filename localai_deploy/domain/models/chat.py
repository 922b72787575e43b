"""Chat models of the 7B class, and larger ones; the type says what a hash stands for."""

from __future__ import annotations

from localai_deploy.domain.models.entry import CatalogueFile, CatalogueModel
from localai_deploy.domain.models.licences import APACHE, GEMMA, LLAMA

CHAT_7B = (
    CatalogueModel(
        "qwen2.5-7b-instruct",
        "chat",
        7.6,
        "bartowski/Qwen2.5-7B-Instruct-GGUF",
        APACHE,
        (
            CatalogueFile(
                "Q4_K_M",
                "Qwen2.5-7B-Instruct-Q4_K_M.gguf",
                4_683_074_240,
                "65b8fcd92af6b4fefa935c625d1ac27ea29dcb6ee14589c55a8f115ceaaa1423",
            ),
            CatalogueFile("Q8_0", "Qwen2.5-7B-Instruct-Q8_0.gguf", 0),
        ),
    ),
    CatalogueModel(
        "qwen3-8b",
        "chat",
        8.2,
        "Qwen/Qwen3-8B-GGUF",
        APACHE,
        (
            CatalogueFile(
                "Q4_K_M",
                "Qwen3-8B-Q4_K_M.gguf",
                5_027_783_488,
                "d98cdcbd03e17ce47681435b5150e34c1417f50b5c0019dd560e4882c5745785",
            ),
            CatalogueFile("Q8_0", "Qwen3-8B-Q8_0.gguf", 8_710_000_000),
        ),
        revision="7c41481f57cb95916b40956ab2f0b139b296d974",
    ),
    CatalogueModel(
        "llama-3.1-8b-instruct",
        "chat",
        8.0,
        "bartowski/Meta-Llama-3.1-8B-Instruct-GGUF",
        LLAMA,
        (
            CatalogueFile(
                "Q4_K_M",
                "Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf",
                4_920_739_232,
                "7b064f5842bf9532c91456deda288a1b672397a54fa729aa665952863033557c",
            ),
            CatalogueFile("Q8_0", "Meta-Llama-3.1-8B-Instruct-Q8_0.gguf", 0),
        ),
        revision="bf5b95e96dac0462e2a09145ec66cae9a3f12067",
        note="a conversion that is open; the licence holds all the same",
    ),
    CatalogueModel(
        "mistral-7b-instruct-v0.3",
        "chat",
        7.2,
        "bartowski/Mistral-7B-Instruct-v0.3-GGUF",
        APACHE,
        (
            CatalogueFile(
                "Q4_K_M",
                "Mistral-7B-Instruct-v0.3-Q4_K_M.gguf",
                4_372_812_000,
                "1270d22c0fbb3d092fb725d4d96c457b7b687a5f5a715abe1e818da303e562b6",
            ),
        ),
        revision="61fd4167fff3ab01ee1cfe0da183fa27a944db48",
    ),
    CatalogueModel(
        "gemma-2-9b-it",
        "chat",
        9.2,
        "bartowski/gemma-2-9b-it-GGUF",
        GEMMA,
        (
            CatalogueFile(
                "Q4_K_M",
                "gemma-2-9b-it-Q4_K_M.gguf",
                5_761_057_728,
                "13b2a7b4115bbd0900162edcebe476da1ba1fc24e718e8b40d32f6e300f56dfe",
            ),
            CatalogueFile(
                "Q5_K_M",
                "gemma-2-9b-it-Q5_K_M.gguf",
                6_647_366_592,
                "a4b0b55ce809a09baaefb789b0046ac77ecd502aba8aeb2ed63cc237d9f40ce7",
            ),
        ),
        revision="d731033f3dc4018261fd39896e50984d398b4ac5",
        note="a conversion that is open; the terms hold all the same",
    ),
)
LARGER = (
    CatalogueModel(
        "gemma-2-27b-it",
        "chat",
        27.2,
        "bartowski/gemma-2-27b-it-GGUF",
        GEMMA,
        (
            CatalogueFile(
                "Q4_K_M",
                "gemma-2-27b-it-Q4_K_M.gguf",
                16_600_000_000,
                "503a87ab47c9e7fb27545ec8592b4dc4493538bd47b397ceb3197e10a0370d23",
            ),
            CatalogueFile("Q2_K", "gemma-2-27b-it-Q2_K.gguf", 10_400_000_000),
            CatalogueFile("Q3_K_M", "gemma-2-27b-it-Q3_K_M.gguf", 13_400_000_000),
            CatalogueFile(
                "Q5_K_M",
                "gemma-2-27b-it-Q5_K_M.gguf",
                19_400_000_000,
                "fbefa7ddf24b32dee231c40e0bdd55f9a3ef0e64c8559b0cb48b66cce66fe671",
            ),
        ),
        note="a conversion that is open; the terms hold all the same",
    ),
)
