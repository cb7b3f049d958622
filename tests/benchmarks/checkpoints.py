"""Checkpoints as they come from training, made up: Llama shapes, shards, fine-tunes with heavy-tailed differences."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SHARD_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Size:
    """A Llama's dimensions."""

    hidden: int
    inner: int
    layers: int
    key_value: int
    vocabulary: int


SIZES = {
    "15M": Size(288, 768, 6, 288, 32000),
    "125M": Size(768, 2048, 12, 768, 32000),
    "1.1B": Size(2048, 5632, 22, 256, 32000),
}


def shapes(size: Size) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(name, shape) of every tensor."""
    yield "model.embed_tokens.weight", (size.vocabulary, size.hidden)
    for layer in range(size.layers):
        prefix = f"model.layers.{layer}"
        for name, rows in (
            ("q", size.hidden),
            ("k", size.key_value),
            ("v", size.key_value),
            ("o", size.hidden),
        ):
            yield f"{prefix}.self_attn.{name}_proj.weight", (rows, size.hidden)
        yield f"{prefix}.mlp.gate_proj.weight", (size.inner, size.hidden)
        yield f"{prefix}.mlp.up_proj.weight", (size.inner, size.hidden)
        yield f"{prefix}.mlp.down_proj.weight", (size.hidden, size.inner)
        yield f"{prefix}.input_layernorm.weight", (size.hidden,)
        yield f"{prefix}.post_attention_layernorm.weight", (size.hidden,)
    yield "model.norm.weight", (size.hidden,)
    yield "lm_head.weight", (size.vocabulary, size.hidden)


def generate(folder: Path, size: str, dtype: str, models: int = 3) -> list[Path]:
    """A base and `models` fine-tunes in `folder`; made once, found again later. The base comes first."""
    paths = [folder / "base", *(folder / f"tuned-{i}" for i in range(models))]
    for number, path in enumerate(paths):
        if not (path / "config.json").exists():
            _write(path, SIZES[size], DTYPES[dtype], number)
    return paths


def _write(folder: Path, size: Size, dtype: torch.dtype, number: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    groups: list[dict[str, torch.Tensor]] = [{}]
    room = SHARD_BYTES
    for index, (name, shape) in enumerate(shapes(size)):
        tensor = _tensor(shape, index, number).to(dtype)
        if tensor.nbytes > room:
            groups.append({})
            room = SHARD_BYTES
        groups[-1][name] = tensor
        room -= tensor.nbytes
    weight_map = {}
    for part, group in enumerate(groups, 1):
        file = f"model-{part:05}-of-{len(groups):05}.safetensors"
        save_file(group, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(group, file))
    index_text = json.dumps({"metadata": {}, "weight_map": weight_map})
    (folder / "model.safetensors.index.json").write_text(index_text)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": size.hidden,
        "intermediate_size": size.inner,
        "num_hidden_layers": size.layers,
        "num_attention_heads": size.hidden // 64 if size.hidden % 64 == 0 else 6,
        "num_key_value_heads": max(1, size.key_value // 64),
        "vocab_size": size.vocabulary,
        "tie_word_embeddings": False,
    }
    (folder / "config.json").write_text(json.dumps(config))


def _tensor(shape: tuple[int, ...], index: int, number: int) -> torch.Tensor:
    """The base's values, plus, for a fine-tune, differences with Student's t tails a hundredth as large."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(index)) * 0.02
    if number:
        generator = torch.Generator().manual_seed(1000 * number + index)
        normal = torch.randn(shape, generator=generator)
        tails = torch.rand(shape, generator=generator).clamp_(1e-4)
        values += normal * tails.pow_(-0.33) * 2e-4
    return values


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("dtype", choices=DTYPES)
    arguments = parser.parse_args()
    generate(arguments.folder, arguments.size, arguments.dtype)
