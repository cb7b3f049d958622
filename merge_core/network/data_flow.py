"""The order in which data flows through a network, guessed from what families of models call their modules."""

from __future__ import annotations

import re

_CROSS = re.compile(r"cross|encdec|encoder_attn|encoder_attention")

# (what the module's name holds, label), in the order data flows through a layer. The first that matches is taken;
# "cross" roles are for modules of a decoder that look at the encoder, the others for all else.
_ROLES: tuple[tuple[str, str], ...] = (
    (
        r"^(layer\.0\.layer_norm|input_layernorm|layernorm_before|ln_?1|norm_?1|layer_norm1"
        r"|(attention|attn|self_attn)_(layer_)?norm|self_attn_layer_norm)$",
        "norm 1",
    ),
    (r"(^|\.)(w?qkv|qkv_proj|query_key_value|c_attn|in_proj|in_proj_weight)$", "attn.qkv"),
    (r"(^|\.)(q|query|q_proj|q_lin|to_q|wq|query_proj)$", "attn.q"),
    (r"(^|\.)q_?norm$", "attn.q norm"),
    (r"(^|\.)(k|key|k_proj|k_lin|to_k|wk|key_proj)$", "attn.k"),
    (r"(^|\.)k_?norm$", "attn.k norm"),
    (r"(^|\.)(v|value|v_proj|v_lin|to_v|wv|value_proj)$", "attn.v"),
    (
        r"(^|\.)(attention|attn|self_attn|self_?attention)\.(.*\.)?"
        r"(o|o_proj|out_proj|out_lin|dense|proj|c_proj|wo)$",
        "attn.o",
    ),
    (r"(^|\.)attention\.output\.layernorm$", "attn.norm"),
    (r"(^|\.)(q|query|q_proj|to_q|wq)$", "cross.q"),
    (r"(^|\.)(k|key|k_proj|to_k|wk)$", "cross.k"),
    (r"(^|\.)(v|value|v_proj|to_v|wv)$", "cross.v"),
    (r"(^|\.)(o|o_proj|out_proj|to_out(\.0)?|dense)$", "cross.o"),
    (r"layer_?norm$", "cross.norm"),
    (
        r"^(layer\.1\.layer_norm|post_attention_layernorm|layernorm_after|ln_?2|norm_?2|layer_norm2"
        r"|(ffn|mlp|sa)_(layer_)?norm|pre_feedforward_layernorm)$",
        "norm 2",
    ),
    (r"^layer\.2\.layer_norm$", "norm 3"),
    (r"(^|\.)(router(\..*)?|block_sparse_moe\.gate|mlp\.gate|moe\.gate)$", "router"),
    (r"experts.*\.(w1|gate_proj|gate)$", "experts.gate"),
    (r"experts.*\.gate_up_proj$", "experts.gate+up"),
    (r"experts.*\.(w3|up_proj|up)$", "experts.up"),
    (r"experts.*\.(w2|down_proj|down)$", "experts.down"),
    (r"(^|\.)(gate_proj|w1|wi_0)$", "mlp.gate"),
    (r"(^|\.)(gate_up_proj)$", "mlp.gate+up"),
    (r"(^|\.)(up_proj|w3|wi_1)$", "mlp.up"),
    (r"(^|\.)(fc1|c_fc|wi|lin1|dense_h_to_4h|intermediate\.dense)$", "mlp.fc1"),
    (r"(^|\.)(down_proj|w2)$", "mlp.down"),
    (r"(^|\.)(fc2|c_proj|wo|lin2|dense_4h_to_h|output\.dense)$", "mlp.fc2"),
)
_LAST_ROLES: tuple[tuple[str, str], ...] = (
    (r"^(output\.layernorm|final_layer_norm|output_layer_norm|post_feedforward_layernorm)$", "norm 3"),
)
_BEFORE = re.compile(
    r"embed|(^|[._])(wte|wpe|patch|stem|cls|pos|tok)([._]|$)|position|token|relative|^shared$|^conv1|pre_?(layer)?norm"
)


def role_of(module: str) -> tuple[int, str]:
    """(place in the flow through a layer, label or "" where the module is none we know).

    Args:
        module: its name within its layer, without weight and bias.
    """
    lower = module.lower()
    crossing = bool(_CROSS.search(lower))
    for place, (pattern, label) in enumerate(_ROLES):
        if label.startswith("cross.") == crossing and re.search(pattern, lower):
            return place, label
    for place, (pattern, label) in enumerate(_LAST_ROLES):
        if re.search(pattern, lower):
            return len(_ROLES) + 1 + place, label
    return len(_ROLES), ""


def precedes_layers(module: str) -> bool:
    """True for what data passes before the layers, such as embeddings; norms and heads that are outside come after."""
    return _BEFORE.search(module.lower()) is not None
