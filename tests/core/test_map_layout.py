"""Every tensor has one place in the map, in the order data flows, whatever the architecture and whatever its names."""

from __future__ import annotations

import pytest

from merge_core.interference.map_layout import MOST_COLUMNS, MOST_OUTSIDE, MOST_ROWS, arrange

ATTENTION = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"]
FEED_FORWARD = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
LLAMA = [*ATTENTION, *FEED_FORWARD, "input_layernorm", "post_attention_layernorm"]
T5_SELF = ["layer.0.SelfAttention.q", "layer.0.SelfAttention.o", "layer.0.layer_norm"]
T5_CROSS = ["layer.1.EncDecAttention.q", "layer.1.EncDecAttention.o", "layer.1.layer_norm"]
T5_ENCODER = [*T5_SELF, "layer.1.DenseReluDense.wi_0", "layer.1.layer_norm"]
T5_DECODER = [*T5_SELF, *T5_CROSS, "layer.2.DenseReluDense.wi_0", "layer.2.layer_norm"]


def in_layers(prefix: str, layers: int, modules: list[str]) -> list[str]:
    return [f"{prefix}.{layer}.{module}.weight" for layer in range(layers) for module in modules]


NETWORKS = {
    "llama": [
        "model.embed_tokens.weight",
        *in_layers("model.layers", 3, LLAMA),
        "model.norm.weight",
        "lm_head.weight",
    ],
    "t5": [
        "shared.weight",
        *in_layers("encoder.block", 2, T5_ENCODER),
        *in_layers("decoder.block", 2, T5_DECODER),
    ],
    "experts": in_layers(
        "model.layers", 2, [f"mlp.experts.{n}.{p}_proj" for n in range(40) for p in ("up", "down")]
    ),
    "no layers": ["weight", "bias"],
    "nothing": [],
    "strange": [
        "",
        ".",
        "..0..",
        "0",
        "0.0",
        "a.999999.b",
        "a.1000000.b",
        "<img src=x>.1.${alert(1)}",
        "{{x}}.2.{{y}}",
    ],
    "many layers": in_layers("h", MOST_ROWS + 9, ["fc1"]),
    "many modules": in_layers(
        "h", 2, [f"part{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(MOST_COLUMNS + 9)]
    ),
    "much outside": [f"loose_{chr(97 + n)}" for n in range(MOST_OUTSIDE + 5)],
}


@pytest.mark.parametrize("network", NETWORKS)
def test_every_tensor_lies_in_exactly_one_cell(network: str) -> None:
    names = NETWORKS[network]
    arranged = arrange(names)
    assert sorted(i for cell in arranged.cells for i in cell.tensors) == list(range(len(names)))
    inside = [(cell.row, cell.column) for cell in arranged.cells if cell.row >= 0]
    assert len(set(inside)) == len(inside)
    outside = [cell for _, cell in (*arranged.before, *arranged.after)]
    assert sorted(outside) == [n for n, cell in enumerate(arranged.cells) if cell.row < 0]
    assert len(arranged.rows) <= MOST_ROWS
    assert len(arranged.columns) <= MOST_COLUMNS
    labels = [column.label for column in arranged.columns]
    assert len(set(labels)) == len(labels)


def test_columns_follow_the_flow_of_data() -> None:
    assert [c.label for c in arrange(NETWORKS["llama"]).columns] == [
        *("norm 1", "attn.q", "attn.k", "attn.v", "attn.o", "norm 2", "mlp.gate", "mlp.up", "mlp.down")
    ]


def test_what_lies_outside_the_layers_stands_before_and_after_them() -> None:
    arranged = arrange(NETWORKS["llama"])
    assert [label for label, _ in arranged.before] == ["embed_tokens"]
    assert [label for label, _ in arranged.after] == ["model.norm", "lm_head"]


def test_encoder_and_decoder_share_columns_by_role_and_cross_attention_has_its_own() -> None:
    arranged = arrange(NETWORKS["t5"])
    assert [row.label for row in arranged.rows] == ["encoder 0", "1", "decoder 0", "1"]
    assert [c.label for c in arranged.columns] == [
        *("norm 1", "attn.q", "attn.o", "cross.q", "cross.o", "norm 2", "norm 3", "mlp.gate")
    ]


def test_experts_of_one_layer_share_a_cell() -> None:
    arranged = arrange(NETWORKS["experts"])
    assert [c.label for c in arranged.columns] == ["experts.up", "experts.down"]
    assert {len(cell.tensors) for cell in arranged.cells} == {40}
