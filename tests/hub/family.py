"""A base and three fine-tunes on the local Hub, cut as if they were large, and merges of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from merge_core.recipe import Recipe, read_recipe
from merge_core.streaming import inputs, pieces
from tests.checkpoints import write_model
from tests.hub.server import LocalHub

NAMES = ("base", "code", "math", "chat")
SHAPES = {
    "model.embed_tokens.weight": (1200, 64),
    **{f"model.layers.{n}.mlp.weight": (200, 160) for n in range(5)},
    **{f"model.layers.{n}.norm.weight": (64,) for n in range(5)},
}
CONFIG = {"architectures": ["ToyForCausalLM"], "model_type": "toy"}


def cut_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut everything as if the models were large."""
    monkeypatch.setattr(pieces, "PIECE", 1 << 14)
    monkeypatch.setattr(pieces, "CHUNK", 1 << 12)
    monkeypatch.setattr(inputs, "LONGEST", 1 << 13)


def put_on(hub: LocalHub, folder: Path, dtype: str = "bfloat16", shards: int = 2, **access: bool) -> None:
    """The models `acme/base`, `acme/code` …"""
    rng = np.random.default_rng(5)
    base = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    for name in NAMES:
        tuned = {k: v + rng.standard_t(4, v.shape).astype(np.float32) / 50 for k, v in base.items()}
        weights = base if name == "base" else tuned
        made = write_model(folder / name, weights, dtype=dtype, shards=shards, config=CONFIG)
        (made / "tokenizer.json").write_text('{"version": "1.0"}')
        (made / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n")
        hub.add_model(f"acme/{name}", made, **access)


def recipe_text(method: str = "ties", **parameters: object) -> str:
    """All of them merged."""
    models = [{"model": f"acme/{name}", "parameters": {"weight": 1.0}} for name in NAMES[1:]]
    document = {"merge_method": method, "models": models, "base_model": "acme/base", "parameters": parameters}
    return yaml.safe_dump({key: value for key, value in document.items() if value})


def recipe(method: str = "ties", **parameters: object) -> Recipe:
    """All of them merged."""
    return read_recipe(recipe_text(method, **parameters))


def weights_of(hub: LocalHub, *names: str) -> dict[str, int]:
    """Bytes of every weight file of these models, by `name/file`."""
    return {
        f"{name}/{path}": len(content)
        for name in names
        for path, content in hub.files(f"acme/{name}").items()
        if path.endswith(".safetensors")
    }


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}
