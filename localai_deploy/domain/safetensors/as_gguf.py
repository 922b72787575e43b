"""What a GGUF file of a safetensors repository would hold: the same tensors by their names there, as f16.

Names are those of the Transformers library and of the GGUF conventions (``gguf-py/gguf/tensor_mapping.py``).
A tensor of another name stays what it is: its bytes count where its block does.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from math import prod

from localai_deploy.domain.gguf.header import GgufModel, Tensor
from localai_deploy.domain.safetensors.config import Config, metadata_of, text_part, whole
from localai_deploy.domain.safetensors.header import StoredTensor

_F16_BYTES = 2
_PACKED = ("I32", "U32", "U8", "I8")
"""Types that hold two values a byte in quantised repositories."""
_BESIDE = re.compile(r"(^|\.)(vision|visual|audio|image|multi_modal|mm_|embed_vision|embed_audio|mtp)")
"""What a projector's file would hold, or nothing."""
_BLOCK = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.([0-9]{1,4})\.(.+)")
_EXPERT = re.compile(r".*experts\.[0-9]+\.(gate_proj|up_proj|down_proj|w1|w2|w3)\.weight")
_STACKED = re.compile(r".*experts\.(gate_up_proj|gate_proj|up_proj|down_proj)(?:\.weight|_blocks)?")
_KINDS = {"w1": "gate", "w2": "down", "w3": "up"}
_INPUT = re.compile(
    r"(^|.*\.)(embed_tokens|wte|word_embeddings|tok_embeddings|embed_in|embeddings|embedding)\.weight"
)
_OUTPUT = re.compile(r"(^|.*\.)(lm_head|output|embed_out|output_layer)\.weight")
_NAMES: tuple[tuple[str, str], ...] = (
    (r"linear_attn\.(?:in_proj_qkvz|in_proj_qkv|in_proj)\.", "ssm_in"),
    (r"(?:mixer|mamba|linear_attn|time_mixer)\.(\w+)", r"ssm_\1"),
    (r"(?:conv)\.(\w+)\.", r"shortconv.\1"),
    (r"kv_a_proj_with_mqa\.", "attn_kv_a_mqa"),
    (r"(?:qkv_proj|c_attn|query_key_value|Wqkv)\.", "attn_qkv"),
    (r"\w*att\w*\.(?:q_norm|query_layernorm)\.", "attn_q_norm"),
    (r"\w*att\w*\.(?:k_norm|key_layernorm)\.", "attn_k_norm"),
    (r"\w*att\w*\.(?:q_proj|wq)\.", "attn_q"),
    (r"\w*att\w*\.(?:k_proj|wk)\.", "attn_k"),
    (r"\w*att\w*\.(?:v_proj|wv)\.", "attn_v"),
    (r"\w*att\w*\.(?:o_proj|out_proj|wo|dense|c_proj)\.", "attn_output"),
    (r"shared_experts?\.(gate|up|down)_proj\.", r"ffn_\1_shexp"),
    (r"(?:mlp|moe)\.(?:gate|router)\.|router\.", "ffn_gate_inp"),
    (r"(?:gate_up_proj|dense_h_to_4h|c_fc|fc1|up_proj|w3)\.", "ffn_up"),
    (r"(?:gate_proj|w1)\.", "ffn_gate"),
    (r"(?:down_proj|dense_4h_to_h|fc2|w2)\.|mlp\.c_proj\.", "ffn_down"),
    (r"(?:input_layernorm|ln_1|attention_norm|operator_norm)\.", "attn_norm"),
    (r"pre_feedforward_layernorm\.|ln_2\.", "ffn_norm"),
    (r"post_feedforward_layernorm\.", "post_ffw_norm"),
)
"""Part of a name behind its block → the name in GGUF; the first that is found counts."""
_RULES = tuple((re.compile(rf"(?:^|.*\.){pattern}"), name) for pattern, name in _NAMES)
_SECOND_NORM = "post_attention_layernorm"


def as_gguf(tensors: Iterable[StoredTensor], config: Config) -> GgufModel:
    """Put ``tensors`` and ``config`` into the words of a GGUF file."""
    told = text_part(config)
    rows = [row for row in tensors if not _BESIDE.search(row.name)]
    blocks = whole(told, "num_hidden_layers", "n_layer", "num_layers", "n_layers")
    four = any("pre_feedforward_layernorm" in row.name for row in rows)
    found: list[Tensor] = []
    experts: dict[tuple[str, str], list[StoredTensor]] = defaultdict(list)
    for row in rows:
        block = _BLOCK.search(row.name)
        if block is None:
            found.append(_tensor(_outer_name(row.name), row))
        elif int(block[1]) < blocks:
            kind = _EXPERT.fullmatch(block[2]) or _STACKED.fullmatch(block[2])
            if kind:
                experts[(block[1], kind[1])].append(row)
            else:
                found.append(_tensor(f"blk.{int(block[1])}.{_inner_name(block[2], four_norms=four)}", row))
    found += [_joined(number, kind, parts, told) for (number, kind), parts in experts.items()]
    if config.get("tie_word_embeddings") is True:
        found = [tensor for tensor in found if tensor.name != "output.weight"]
    return GgufModel(metadata_of(told), tuple(found))


def _outer_name(name: str) -> str:
    if _INPUT.fullmatch(name):
        return "token_embd.weight"
    if _OUTPUT.fullmatch(name):
        return "output.weight"
    return "output_norm.weight" if name.endswith(("norm.weight", "ln_f.weight")) else name


def _inner_name(name: str, *, four_norms: bool) -> str:
    ending = name.rpartition(".")[2]
    if _SECOND_NORM in name:
        return f"{'post_attention_norm' if four_norms else 'ffn_norm'}.{ending}"
    for pattern, new in _RULES:
        if match := pattern.match(name):
            return f"{match.expand(new)}.{'weight' if ending == 'qweight' else ending}"
    return name


def _joined(number: str, kind: str, parts: list[StoredTensor], config: Config) -> Tensor:
    """All experts' tensors of one kind as one; of stacked ones the config tells the width."""
    name = _KINDS.get(kind, kind.removesuffix("_proj"))
    values = sum(map(_values, parts))
    stacked = len(parts) == 1 and len(parts[0].shape) > 2
    count = parts[0].shape[0] if stacked else len(parts)
    width = whole(config, "moe_intermediate_size", "intermediate_size") if stacked else 0
    first = width if name == "down" and width else whole(config, "hidden_size", "d_model")
    if not stacked:
        first = parts[0].shape[-1] if parts[0].shape else 1
    rest = values // max(first * count, 1)
    return Tensor(
        f"blk.{int(number)}.ffn_{name}_exps.weight", (first, rest, count), "f16", _F16_BYTES * values, 0
    )


def _tensor(name: str, row: StoredTensor) -> Tensor:
    values = _values(row)
    shape = tuple(reversed(row.shape)) or (1,)
    return Tensor(name, shape, "f16", _F16_BYTES * values, 0)


def _values(row: StoredTensor) -> int:
    return 2 * row.size_bytes if row.dtype in _PACKED else prod(row.shape)
