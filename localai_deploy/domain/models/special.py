"""Embeddings and recurrent models; the type says what a hash stands for."""

from __future__ import annotations

from localai_deploy.domain.models.entry import CatalogueFile, CatalogueModel
from localai_deploy.domain.models.licences import APACHE, MIT

EMBEDDINGS = (
    CatalogueModel(
        "nomic-embed-text-v1.5",
        "embedding",
        0.137,
        "nomic-ai/nomic-embed-text-v1.5-GGUF",
        APACHE,
        (
            CatalogueFile(
                "Q8_0",
                "nomic-embed-text-v1.5.Q8_0.gguf",
                146_146_432,
                "3e24342164b3d94991ba9692fdc0dd08e3fd7362e0aacc396a9a5c54a544c3b7",
            ),
        ),
    ),
    CatalogueModel(
        "bge-small-en-v1.5",
        "embedding",
        0.033,
        "CompendiumLabs/bge-small-en-v1.5-gguf",
        MIT,
        (
            CatalogueFile(
                "Q8_0",
                "bge-small-en-v1.5-q8_0.gguf",
                36_806_944,
                "ec38e8da142596baa913124ae50550de284b6916bf59577ef2f0cb9660c2f514",
            ),
        ),
    ),
    CatalogueModel(
        "all-minilm-l6-v2",
        "embedding",
        0.023,
        "second-state/All-MiniLM-L6-v2-Embedding-GGUF",
        APACHE,
        (
            CatalogueFile(
                "Q8_0",
                "all-MiniLM-L6-v2-Q8_0.gguf",
                25_008_064,
                "263215c3cadd6e16740741a7624ab4cbb6c8e777688bd5331ecfbf5681c2f8ed",
            ),
        ),
    ),
)
RECURRENT = (
    CatalogueModel(
        "rwkv7-2.9b",
        "chat",
        2.9,
        "mollysama/RWKV-7-World-v3-2.9B-GGUF",
        APACHE,
        (CatalogueFile("Q4_K_M", "RWKV-v7-World-v3-2.9B-Q4_K_M.gguf", 1_880_000_000),),
        note="RWKV-7: a state of fixed size in place of a KV cache",
    ),
    CatalogueModel(
        "rwkv6-7b",
        "chat",
        7.6,
        "bartowski/rwkv-6-world-7b-GGUF",
        APACHE,
        (
            CatalogueFile("Q4_K_M", "rwkv-6-world-7b-Q4_K_M.gguf", 4_660_000_000),
            CatalogueFile("Q8_0", "rwkv-6-world-7b-Q8_0.gguf", 8_370_000_000),
        ),
        note="RWKV-6: a state of fixed size in place of a KV cache",
    ),
    CatalogueModel(
        "eagle-7b",
        "chat",
        7.5,
        "RWKV/v5-Eagle-7B-HF",
        APACHE,
        (),
        note=(
            "RWKV-5: llama.cpp has no architecture for it, so there is no GGUF. Hugging Face Transformers "
            "runs it with the repository's own code (trust_remote_code), the RWKV project's package rwkv "
            "with RWKV/v5-Eagle-7B-pth; all its weights are pickled. Its successors rwkv6-7b and rwkv7-2.9b "
            "run here"
        ),
    ),
)
