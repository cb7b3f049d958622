"""A weight's heads are those the network computes with; what a configuration merely claims counts for nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from merge_core.interference.blocks import MOST_BLOCKS, blocks_of
from merge_core.network.heads import Heads, heads_of

# kind → (configuration, what the module is called that gets the heads' outputs side by side)
KINDS: dict[str, tuple[str, dict[str, Any], str]] = {
    "gpt2": ("GPT2Config", {"n_embd": 24, "n_head": 3, "n_layer": 2, "vocab_size": 40}, "attn.c_proj"),
    "llama": (
        "LlamaConfig",
        {
            "hidden_size": 24,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "intermediate_size": 16,
        },
        "o_proj",
    ),
    "phi3": (
        "Phi3Config",
        {
            "hidden_size": 24,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "intermediate_size": 16,
            "pad_token_id": 0,
        },
        "o_proj",
    ),
    "gpt_neox": (
        "GPTNeoXConfig",
        {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 16},
        "attention.dense",
    ),
    "bloom": ("BloomConfig", {"hidden_size": 24, "n_head": 3}, "self_attention.dense"),
    "mpt": ("MptConfig", {"d_model": 24, "n_heads": 3, "max_seq_len": 32}, "attn.out_proj"),
    "falcon": (
        "FalconConfig",
        {"hidden_size": 24, "num_attention_heads": 3, "multi_query": True},
        "self_attention.dense",
    ),
    "bert": (
        "BertConfig",
        {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 16},
        "attention.output.dense",
    ),
    "t5": ("T5Config", {"d_model": 20, "d_kv": 8, "num_heads": 3, "d_ff": 16}, "SelfAttention.o"),
    "opt": (
        "OPTConfig",
        {"hidden_size": 24, "num_attention_heads": 3, "ffn_dim": 16, "word_embed_proj_dim": 24},
        "out_proj",
    ),
}


def tiny(kind: str) -> tuple[Any, dict[str, Any], str]:
    """(model, its configuration as config.json says it, name of the output module)."""
    name, settings, output = KINDS[kind]
    layers = {} if kind == "gpt2" else {"num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2}
    config = getattr(transformers, name)(**{"vocab_size": 40, **layers, **settings})
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config).eval()
    return (model.encoder if kind == "t5" else model), config.to_dict(), output


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_head_reaches_the_columns_that_are_said_to_be_its(kind: str) -> None:
    model, config, output = tiny(kind)
    parameters = dict(model.named_parameters())
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    found = {name: heads_of(name, shapes, config)[0] for name in shapes}
    first = {
        name: heads
        for name, heads in found.items()
        if heads is not None and ".0." in name and len(shapes[name]) == 2
    }
    valued = next(n for n, h in first.items() if any("value" in part for part, _ in h.parts))
    out = next(n for n, h in first.items() if h.parts[0][0] == "output")
    assert output in out
    heads, after = first[valued], first[out]
    with torch.no_grad():
        for name in (n for n in shapes if n.endswith("bias")):
            parameters[name].zero_()
        whole = parameters[valued].clone()
        module = model.get_submodule(out.removesuffix(".weight"))
        seen: list[torch.Tensor] = []
        module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(0, -2)))
        at = 0
        for part, count in heads.parts:
            for head in range(count if "value" in part else 0):
                parameters[valued].copy_(only(whole, heads, at + head))
                seen.clear()
                model(input_ids=torch.arange(1, 8)[None])
                reached = seen[0].abs().sum(0).nonzero().flatten().tolist()
                group = after.parts[0][1] // count  # query heads that share it
                assert reached == list(range(head * group * after.size, (head + 1) * group * after.size))
            at += count


def only(weight: torch.Tensor, heads: Heads, head: int) -> torch.Tensor:
    """The weight with one head's part of it alone; what is not value stays."""
    kept = weight.clone()
    ends = [sum(count for _, count in heads.parts[: n + 1]) for n in range(len(heads.parts))]
    begin = 0 if len(heads.parts) == 1 else ends[-2]
    for other in range(begin, ends[-1]):
        if other != head:
            kept.narrow(heads.axis, other * heads.size, heads.size).zero_()
    return kept


def test_every_attention_weight_of_these_models_is_shown_by_heads() -> None:
    for kind in KINDS:
        model, config, _ = tiny(kind)
        shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        attention = [
            n for n in shapes if n.endswith("weight") and "attn" in n.lower() and len(shapes[n]) == 2
        ]
        for name in attention:
            assert heads_of(name, shapes, config)[0] is not None or "relative" in name, (kind, name)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"num_attention_heads": 7, "hidden_size": 24},
        {"num_attention_heads": 4, "hidden_size": 24, "head_dim": 5},
        {"num_attention_heads": True, "hidden_size": 24},
        {"num_attention_heads": "4"},
        {"num_attention_heads": -4, "hidden_size": 24},
        {"num_attention_heads": 10**12, "hidden_size": 10**13},
        {"num_attention_heads": 0, "num_key_value_heads": 0},
        {"num_attention_heads": [4], "vision_config": 3, "text_config": []},
    ],
)
def test_a_configuration_that_does_not_fit_the_shape_leaves_rows_and_says_so(config: dict[str, Any]) -> None:
    shapes = {"layers.0.self_attn.q_proj.weight": (24, 24)}
    cut = blocks_of("layers.0.self_attn.q_proj.weight", shapes, config)
    assert cut.kind == "rows"
    assert cut.note
    assert [(b.start, b.stop) for b in cut.blocks] == [(0, 24)]  # as few weights are left in one piece


def test_each_tower_of_a_model_has_its_own_heads() -> None:
    config = {
        "text_config": {"num_attention_heads": 2, "hidden_size": 24},
        "vision_config": {"num_attention_heads": 4, "hidden_size": 24},
    }
    shapes = {f"{t}_model.encoder.layers.0.self_attn.q_proj.weight": (24, 24) for t in ("text", "vision")}
    counts = [heads.parts[0][1] for heads, _ in (heads_of(n, shapes, config) for n in shapes) if heads]
    assert counts == [2, 4]


def test_an_unknown_order_of_a_fused_weight_is_not_guessed() -> None:
    shapes = {"h.0.attn.c_attn.weight": (24, 72)}
    config = {"model_type": "novel", "n_head": 3, "n_embd": 24}
    heads, why = heads_of("h.0.attn.c_attn.weight", shapes, config)
    assert heads is None
    assert "not known" in why


@pytest.mark.parametrize(
    ("shape", "count"),
    [
        ((), 1),
        ((1,), 1),
        ((0, 4), 1),
        ((64, 2), 1),
        ((80, 40), 3),
        ((64, 1024), 64),
        ((65, 1024), 33),
        ((50_257, 4), 64),
    ],
)
def test_rows_are_cut_into_at_most_64_blocks_of_enough_weights_that_cover_them(
    shape: tuple[int, ...], count: int
) -> None:
    cut = blocks_of("wte.weight", {"wte.weight": shape}, {})
    assert len(cut.blocks) == count <= MOST_BLOCKS
    assert cut.blocks[0].start == 0
    assert cut.blocks[-1].stop == (shape[0] if shape else 1)
    assert all(a.stop == b.start for a, b in zip(cut.blocks, cut.blocks[1:], strict=False))
    assert cut.kind == "tokens"
    assert not cut.note
