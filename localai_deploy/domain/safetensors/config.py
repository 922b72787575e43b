"""A repository's ``config.json`` in the words of GGUF metadata."""

from __future__ import annotations

from collections.abc import Mapping

from localai_deploy.domain.gguf.header import Value

Config = Mapping[str, object]
_ARCHITECTURES = {
    "mistral": "llama",
    "mixtral": "llama",
    "gemma3_text": "gemma3",
    "deepseek_v2": "deepseek2",
    "deepseek_v3": "deepseek2",
    "gpt_oss": "gpt-oss",
    "cohere": "command-r",
    "llama4_text": "llama4",
    "gpt_neox": "gptneox",
    "phi": "phi2",
}
"""``model_type`` → architecture, where that is more than leaving out ``_``."""
_KEYS = {
    "block_count": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "embedding_length": ("hidden_size", "n_embd", "d_model"),
    "context_length": ("max_position_embeddings", "n_positions", "max_seq_len"),
    "attention.head_count": ("num_attention_heads", "n_head", "n_heads"),
    "attention.head_count_kv": ("num_key_value_heads", "num_kv_heads", "multi_query_group_num"),
    "attention.key_length": ("head_dim",),
    "attention.value_length": ("head_dim",),
    "attention.kv_lora_rank": ("kv_lora_rank",),
    "attention.value_length_mla": ("v_head_dim",),
    "attention.shared_kv_layers": ("num_kv_shared_layers",),
    "expert_used_count": ("num_experts_per_tok", "experts_per_token", "moe_topk"),
    "ssm.conv_kernel": ("conv_kernel", "d_conv", "mamba_d_conv", "linear_conv_kernel_dim"),
    "ssm.state_size": ("state_size", "ssm_state_size", "mamba_d_state", "linear_key_head_dim"),
    "ssm.group_count": ("n_groups", "mamba_n_groups", "linear_num_key_heads"),
    "wkv.head_size": ("head_size",),
}
"""Metadata key → the names that it has in configs; the first that is there tells."""
_MOST = 1 << 24
_MOST_BLOCKS = 4096


def text_part(config: Config) -> Config:
    """The part about text, where there are others about pictures or sound."""
    text = config.get("text_config")
    return {**config, **text} if isinstance(text, dict) else config


def architecture_of(config: Config) -> str:
    """What ``general.architecture`` would be."""
    told = config.get("model_type")
    name = told if isinstance(told, str) else ""
    return _ARCHITECTURES.get(name, name.replace("_text", "").replace("_", ""))


def metadata_of(config: Config) -> dict[str, Value]:
    """What a GGUF file of the same model would say."""
    found: dict[str, Value] = {key: value for key, names in _KEYS.items() if (value := whole(config, *names))}
    if "attention.head_count" in found and "attention.head_count_kv" not in found:
        single = config.get("multi_query") is True and not whole(config, "num_kv_heads")
        found["attention.head_count_kv"] = 1 if single else found["attention.head_count"]
    if rope := whole(config, "qk_rope_head_dim"):
        found["attention.key_length_mla"] = whole(config, "qk_nope_head_dim") + rope
    if inner := _inner(config):
        found["ssm.inner_size"] = inner
    found |= _window(config)
    architecture = architecture_of(config)
    named: dict[str, Value] = {f"{architecture}.{key}": value for key, value in found.items()}
    return {"general.architecture": architecture, **named}


def _inner(config: Config) -> int:
    """Width of a recurrent block's own part."""
    if heads := whole(config, "linear_num_value_heads"):
        return heads * whole(config, "linear_value_head_dim")
    if heads := whole(config, "mamba_num_heads", "mamba_n_heads"):
        return heads * whole(config, "mamba_head_dim", "mamba_d_head")
    if not whole(config, "state_size", "mamba_d_state"):
        return 0
    expanded = whole(config, "expand", "mamba_expand") * whole(config, "hidden_size")
    return whole(config, "d_inner") or expanded or whole(config, "intermediate_size")


def _window(config: Config) -> dict[str, Value]:
    window = whole(config, "sliding_window")
    if not window or config.get("use_sliding_window") is False:
        return {}
    kinds = config.get("layer_types")
    found: dict[str, Value] = {"attention.sliding_window": window}
    if isinstance(kinds, list) and len(kinds) <= _MOST_BLOCKS:
        found["attention.sliding_window_pattern"] = tuple(kind == "sliding_attention" for kind in kinds)
    return found


def whole(config: Config, *names: str) -> int:
    """The first of ``names`` that is a positive number; else 0."""
    for name in names:
        value = config.get(name)
        if type(value) is int and 0 < value < _MOST:
            return value
    return 0
