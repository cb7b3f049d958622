"""The same recipes through mergekit itself, in float32: every method that both have. Skipped where mergekit is not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from merge_core.engine import merge
from merge_core.methods import METHODS
from merge_core.prepare import prepare
from merge_core.recipe import read_recipe
from tests.checkpoints import as_float64, read_model, write_model

ROOT = Path(__file__).parents[2]
HIDDEN, INNER, LAYERS, VOCABULARY = 32, 48, 3, 64
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": VOCABULARY,
    "tie_word_embeddings": False,
}
UNEQUAL = ({"weight": 0.5}, {"weight": 0.3}, {"weight": -0.2})
CASES: dict[str, tuple[str, dict[str, Any], tuple[dict[str, Any], ...]]] = {
    "linear": ("linear", {}, UNEQUAL),
    "linear, not normalized": ("linear", {"normalize": False}, UNEQUAL),
    "task arithmetic": ("task_arithmetic", {}, UNEQUAL),
    "task arithmetic, normalized, scaled": ("task_arithmetic", {"normalize": True, "lambda": 0.7}, UNEQUAL),
    "ties": ("ties", {"density": 0.2}, ({"weight": 1.0},) * 3),
    "ties, unequal weights": ("ties", {"density": 0.5}, ({"weight": 0.5}, {"weight": 1.0}, {"weight": 2.0})),
    "ties, not normalized": ("ties", {"density": 0.5, "normalize": False}, ({"weight": 0.4},) * 3),
    "ties, everything kept": ("ties", {"density": 1.0, "lambda": 0.5}, ({"weight": 0.4},) * 3),
    "ties, rescaled": ("ties", {"density": 0.3, "rescale": True}, ({"weight": 1.0},) * 3),
    "ties, own densities": (
        "ties",
        {},
        ({"weight": 1.0, "density": 0.2}, {"weight": 0.5, "density": 0.5}, {"weight": 0.7, "density": 0.9}),
    ),
    "ties, a gradient and a filter": (
        "ties",
        {"density": [0.2, 0.8]},
        (
            {"weight": [{"filter": "mlp", "value": 0.9}, {"value": 0.3}]},
            {"weight": [0.1, 1.0, 0.5]},
            {"weight": 1.0},
        ),
    ),
}


def mergekit() -> str | None:
    """A Python that can import mergekit: this one, or the benchmark's."""
    if importlib.util.find_spec("mergekit") is not None:
        return sys.executable
    own = ROOT / ".bench" / "mergekit" / "bin" / "python"
    return str(own) if own.exists() and (own.parent / "mergekit-yaml").exists() else None


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with each case's recipe and what mergekit made of it; one process for all, for its start takes long."""
    python = mergekit()
    if python is None:
        pytest.skip("mergekit is not installed; `make bench` sets it up in .bench/")
    folder = tmp_path_factory.mktemp("parity")
    rng = np.random.default_rng(8)
    shapes = {
        "model.embed_tokens.weight": (VOCABULARY, HIDDEN),
        "model.norm.weight": (HIDDEN,),
        "lm_head.weight": (VOCABULARY, HIDDEN),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        shapes |= {f"{at}.self_attn.{n}_proj.weight": (HIDDEN, HIDDEN) for n in "qkvo"}
        shapes |= {f"{at}.mlp.{n}_proj.weight": (INNER, HIDDEN) for n in ("gate", "up")}
        shapes |= {f"{at}.mlp.down_proj.weight": (HIDDEN, INNER)}
        shapes |= {f"{at}.{n}_layernorm.weight": (HIDDEN,) for n in ("input", "post_attention")}
    base = {n: rng.normal(0, 1, s) for n, s in shapes.items()}
    write_model(folder / "base", base, config=CONFIG)
    for number in range(3):
        write_model(
            folder / str(number), {n: v + rng.standard_t(3, v.shape) for n, v in base.items()}, config=CONFIG
        )
    arguments = []
    for case, (method, parameters, own) in CASES.items():
        document: dict[str, Any] = {"merge_method": method, "dtype": "float32", "parameters": parameters}
        if method != "linear":
            document["base_model"] = str(folder / "base")
        document["models"] = [
            {"model": str(folder / str(i)), "parameters": dict(p)} for i, p in enumerate(own)
        ]
        (folder / f"{case}.yml").write_text(yaml.safe_dump(document))
        arguments += [str(folder / f"{case}.yml"), str(folder / f"{case} by mergekit")]
    script = str(Path(__file__).with_name("run_mergekit.py"))
    done = subprocess.run([python, script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("case", CASES)
def test_the_same_recipe_gives_the_same_weights(outputs: Path, case: str) -> None:
    merge(prepare(read_recipe((outputs / f"{case}.yml").read_text())), outputs / f"{case} by Tiebreak")
    theirs, ours = read_model(outputs / f"{case} by mergekit"), read_model(outputs / f"{case} by Tiebreak")
    assert theirs.keys() == ours.keys()
    for name, values in theirs.items():
        assert ours[name].dtype == values.dtype
        np.testing.assert_allclose(
            as_float64(ours[name]), as_float64(values), rtol=2e-5, atol=2e-6, err_msg=name
        )


def test_every_method_that_both_have_is_compared() -> None:
    comparable = {name for name, method in METHODS.items() if not method.draws}
    assert {method for method, _, _ in CASES.values()} == comparable
