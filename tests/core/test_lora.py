"""LoRA adapters as inputs: what they add is formed in the stream, and is what PEFT's own merge adds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from merge_core.__main__ import main
from merge_core.engine import merge
from merge_core.engine.materialise import whole_folder
from merge_core.errors import UserError
from merge_core.jobs.scores import known_scores, load_probes
from merge_core.kernels.low_rank import add_low_rank, add_low_rank_plain
from merge_core.preflight import examine
from merge_core.prepare import open_all, prepare
from merge_core.prepare.opening import open_checkpoint
from merge_core.recipe import ModelRef, read_recipe
from merge_core.streaming import accelerator
from tests import tiny_models
from tests.checkpoints import TORCH_DTYPES, as_float64, read_model, reference_ties, write_model
from tests.core.command_line import refusal

Factors = Mapping[str, tuple[np.ndarray, np.ndarray]]
RNG = np.random.default_rng(8)
WIDE = 1500  # more columns than a strip of the kernel, and no multiple of one
MODULES = {
    "model.layers.0.q_proj": (96, WIDE),
    "model.layers.1.q_proj": (96, WIDE),
    "model.layers.0.mlp": (48, 48),
}
BASE = {
    **{f"{module}.weight": RNG.normal(size=shape).astype(np.float32) for module, shape in MODULES.items()},
    "model.norm.weight": RNG.normal(size=48).astype(np.float32),
}


def factors(rank: int = 4, seed: int = 0, modules: Mapping[str, tuple[int, ...]] = MODULES) -> Factors:
    rng = np.random.default_rng(seed)
    return {
        module: (
            rng.normal(size=(rank, shape[1])).astype(np.float32) / 10,
            rng.normal(size=(shape[0], rank)).astype(np.float32) / 10,
        )
        for module, shape in modules.items()
    }


def write_adapter(
    folder: Path,
    pairs: Factors,
    dtype: str = "float32",
    whole: Mapping[str, np.ndarray] | None = None,
    extra: Mapping[str, np.ndarray] | None = None,
    **config: Any,
) -> Path:
    """An adapter in the form that PEFT saves."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {}
    for module, (a, b) in pairs.items():
        stored[f"base_model.model.{module}.lora_A.weight"] = a
        stored[f"base_model.model.{module}.lora_B.weight"] = b
    stored |= {f"base_model.model.{name}": values for name, values in (whole or {}).items()}
    stored |= extra or {}
    kind = TORCH_DTYPES[dtype]
    save_file(
        {name: torch.as_tensor(v).to(kind).contiguous() for name, v in stored.items()},
        folder / "adapter_model.safetensors",
    )
    settings = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "bias": "none",
        "target_modules": ["q_proj"],
        **config,
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


def recipe(base: Path, *models: str, method: str = "linear", **parameters: Any) -> str:
    document: dict[str, Any] = {
        "merge_method": method,
        "models": [{"model": model, "parameters": {"weight": 1.0}} for model in models],
        "parameters": parameters,
    }
    if method != "linear":
        document["base_model"] = str(base)
    return yaml.safe_dump(document)


def merged(tmp_path: Path, text: str, out: str = "out", **limits: Any) -> dict[str, torch.Tensor]:
    merge(prepare(read_recipe(text)), tmp_path / out, **limits)
    return read_model(tmp_path / out)


def adapted(pairs: Factors, scale: float, base: Mapping[str, np.ndarray] = BASE) -> dict[str, np.ndarray]:
    """The float64 weights that an adapter makes of a base, formed the straight way."""
    found = {name: values.astype(np.float64) for name, values in base.items()}
    for module, (a, b) in pairs.items():
        found[f"{module}.weight"] += scale * (b.astype(np.float64) @ a.astype(np.float64))
    return found


def assert_equal(found: Mapping[str, torch.Tensor], expected: Mapping[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(as_float64(found[name]), values, rtol=3e-6, atol=1e-6, err_msg=name)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_model(tmp_path / "base", BASE)


# What an adapter adds -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "ties"])
def test_one_adapter_with_weight_one_is_its_own_merge(tmp_path: Path, base: Path, method: str) -> None:
    pairs = factors()
    lora = write_adapter(tmp_path / "lora", pairs)
    found = merged(tmp_path, recipe(base, f"{base}+{lora}", method=method))
    assert_equal(found, adapted(pairs, 8 / 4))
    assert torch.equal(found["model.norm.weight"], torch.as_tensor(BASE["model.norm.weight"]))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_halves_are_rounded_once(tmp_path: Path, dtype: str) -> None:
    kind = TORCH_DTYPES[dtype]
    base = write_model(tmp_path / "base", BASE, dtype)
    stored = {name: t.double().numpy() for name, t in read_model(base).items()}
    pairs = factors()
    lora = write_adapter(tmp_path / "lora", pairs)
    found = merged(tmp_path, recipe(base, f"{base}+{lora}"))
    for name, exact in adapted(pairs, 2.0, stored).items():
        rounded = torch.as_tensor(exact).to(torch.float32).to(kind)
        off = (found[name].view(torch.int16) != rounded.view(torch.int16)).double().mean()
        assert off < 1e-3, "only what float32 cannot tell from a tie may fall on the other side"
        np.testing.assert_allclose(as_float64(found[name]), exact, rtol=2.0**-7, atol=1e-3)


SCALES: dict[str, tuple[dict[str, Any], dict[str, float]]] = {
    "alpha over rank": ({"lora_alpha": 16}, dict.fromkeys(MODULES, 16 / 4)),
    "rslora": ({"lora_alpha": 16, "use_rslora": True}, dict.fromkeys(MODULES, 16 / 2)),
    "alpha_pattern": (
        {"alpha_pattern": {"q_proj": 2, "layers.0.mlp": 1}},
        {"model.layers.0.q_proj": 0.5, "model.layers.1.q_proj": 0.5, "model.layers.0.mlp": 0.25},
    ),
    "pattern with a layer": (
        {"alpha_pattern": {r"model\.layers\.1\..*": 4}},
        {"model.layers.0.q_proj": 2.0, "model.layers.1.q_proj": 1.0, "model.layers.0.mlp": 2.0},
    ),
    "pattern with any layer": (
        {"alpha_pattern": {r"layers.\d+.q_proj": 4, "^model.layers.[0-9]+.mlp": 2, "^layers.0.mlp": 9}},
        {"model.layers.0.q_proj": 1.0, "model.layers.1.q_proj": 1.0, "model.layers.0.mlp": 0.5},
    ),
}


@pytest.mark.parametrize(("config", "scales"), SCALES.values(), ids=SCALES)
def test_scale_is_what_the_settings_make_it(
    tmp_path: Path, base: Path, config: dict[str, Any], scales: dict[str, float]
) -> None:
    pairs = factors()
    lora = write_adapter(tmp_path / "lora", pairs, **config)
    expected = adapted({m: (a * scales[m], b) for m, (a, b) in pairs.items()}, 1.0)
    assert_equal(merged(tmp_path, recipe(base, f"{base}+{lora}")), expected)


def test_rank_pattern_gives_modules_ranks_of_their_own(tmp_path: Path, base: Path) -> None:
    small, large = dict(list(MODULES.items())[:1]), dict(list(MODULES.items())[1:])
    pairs = {**factors(2, 1, small), **factors(16, 2, large)}
    lora = write_adapter(tmp_path / "lora", pairs, r=16, rank_pattern={"layers.0.q_proj": 2})
    expected = adapted({m: (a * 8 / len(a), b) for m, (a, b) in pairs.items()}, 1.0)
    assert_equal(merged(tmp_path, recipe(base, f"{base}+{lora}")), expected)


def test_layers_that_are_stored_transposed_are_recognised_square_ones_too(tmp_path: Path) -> None:
    """GPT-2 stores inputs × outputs, calls its model `transformer` in memory, and PEFT need not write either down."""
    shapes = {"h.0.attn.c_attn": (24, 8), "h.0.attn.c_proj": (8, 8)}  # outputs, inputs
    base = {f"{m}.weight": RNG.normal(size=s[::-1]).astype(np.float32) for m, s in shapes.items()}
    folder = write_model(tmp_path / "base", base)
    pairs = factors(modules=shapes)
    lora = write_adapter(tmp_path / "lora", {f"transformer.{m}": pair for m, pair in pairs.items()})
    expected = {n: v.astype(np.float64) for n, v in base.items()}
    for module, (a, b) in pairs.items():
        expected[f"{module}.weight"] += 2.0 * (b.astype(np.float64) @ a.astype(np.float64)).T
    assert_equal(merged(tmp_path, recipe(folder, f"{folder}+{lora}")), expected)


def test_embeddings_and_convolutions_are_adapted(tmp_path: Path) -> None:
    base = {
        "embed.weight": RNG.normal(size=(40, 6)).astype(np.float32),
        "conv.weight": RNG.normal(size=(5, 3, 2, 2)).astype(np.float32),
    }
    folder = write_model(tmp_path / "base", base)
    a, b = RNG.normal(size=(2, 40)).astype(np.float32), RNG.normal(size=(6, 2)).astype(np.float32)
    ca, cb = (
        RNG.normal(size=(2, 3, 2, 2)).astype(np.float32),
        RNG.normal(size=(5, 2, 1, 1)).astype(np.float32),
    )
    prefix = "base_model.model."
    extra = {
        f"{prefix}embed.lora_embedding_A": a,
        f"{prefix}embed.lora_embedding_B": b,
        f"{prefix}conv.lora_A.weight": ca,
        f"{prefix}conv.lora_B.weight": cb,
    }
    lora = write_adapter(tmp_path / "lora", {}, extra=extra)
    expected = {
        "embed.weight": base["embed.weight"] + 4.0 * (b.astype(np.float64) @ a).T,
        "conv.weight": base["conv.weight"]
        + 4.0 * np.einsum("or,rikl->oikl", cb[:, :, 0, 0].astype(np.float64), ca),
    }
    assert_equal(merged(tmp_path, recipe(folder, f"{folder}+{lora}")), expected)


def test_modules_that_were_trained_whole_replace_the_bases(tmp_path: Path, base: Path) -> None:
    norm = RNG.normal(size=48).astype(np.float32)
    lora = write_adapter(
        tmp_path / "lora", factors(), whole={"model.norm.weight": norm}, modules_to_save=["norm"]
    )
    found = merged(tmp_path, recipe(base, f"{base}+{lora}"))
    np.testing.assert_array_equal(found["model.norm.weight"].numpy(), norm)


def test_adapters_of_half_precision_are_read_exactly(tmp_path: Path, base: Path) -> None:
    pairs = factors()
    lora = write_adapter(tmp_path / "lora", pairs, "bfloat16")
    halves = {
        m: tuple(torch.as_tensor(x).bfloat16().float().numpy() for x in pair) for m, pair in pairs.items()
    }
    assert_equal(merged(tmp_path, recipe(base, f"{base}+{lora}")), adapted(halves, 2.0))  # type: ignore[arg-type]


# Beside other models --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["tensor", "model"])
def test_adapters_and_full_models_are_merged_together(tmp_path: Path, base: Path, scope: str) -> None:
    first, second = factors(seed=1), factors(rank=2, seed=2)
    loras = [write_adapter(tmp_path / "one", first), write_adapter(tmp_path / "two", second)]
    full = {name: v + RNG.normal(size=v.shape).astype(np.float32) / 50 for name, v in BASE.items()}
    third = write_model(tmp_path / "full", full)
    text = recipe(
        base, f"{base}+{loras[0]}", f"{base}+{loras[1]}", str(third),
        method="ties", density=0.4, trim_scope=scope,
    )  # fmt: skip
    found = merged(tmp_path, text)
    # As float32 weights, which is what a model with the adapter merged into it holds.
    models = [adapted(first, 2.0), adapted(second, 4.0), full]
    taus = [{n: m[n].astype(np.float32) - BASE[n] for n in BASE} for m in models]
    scopes = [list(BASE)] if scope == "model" else [[name] for name in BASE]
    for names in scopes:
        flat = [np.concatenate([t[n].ravel() for n in names]).astype(np.float64) for t in taus]
        expected = reference_ties(flat, [0.4] * 3, [1.0] * 3)
        got = np.concatenate([as_float64(found[n]).ravel() - BASE[n].ravel() for n in names])
        # A float32 sum of another order than numpy's may put an entry on the other side of the cut.
        assert (np.abs(got - expected) > 1e-5).mean() < 1e-3


def test_memory_and_threads_change_no_byte(tmp_path: Path, base: Path) -> None:
    lora = write_adapter(tmp_path / "lora", factors())
    other = write_adapter(tmp_path / "other", factors(seed=5))
    text = recipe(base, f"{base}+{lora}", f"{base}+{other}", method="ties", density=0.3)
    merged(tmp_path, text, "roomy", threads=2)
    merged(tmp_path, text, "tight", threads=1, memory=18 << 20)
    files = [(tmp_path / out / "model.safetensors").read_bytes() for out in ("roomy", "tight")]
    assert files[0] == files[1]


def test_another_device_adapts_as_the_processor_does(
    tmp_path: Path, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accelerator, "CHUNK", 1 << 16)
    if not torch.cuda.is_available():
        monkeypatch.setattr(accelerator, "torch_device", lambda name: torch.device("cpu"))
    pairs = factors()
    lora = write_adapter(tmp_path / "lora", pairs)
    text = recipe(base, f"{base}+{lora}", method="ties", density=1.0)
    assert_equal(merged(tmp_path, text, device="cuda"), adapted(pairs, 2.0))


def test_adapted_model_is_measured_on_probes(tmp_path: Path) -> None:
    base = tiny_models.gpt2(tmp_path / "base")
    shape = {"transformer.h.0.attn.c_attn": (48, 16)}
    a, b = factors(modules=shape)["transformer.h.0.attn.c_attn"]
    loras = [
        write_adapter(tmp_path / name, {"transformer.h.0.attn.c_attn": (a * step, b)})
        for name, step in (("still", 0), ("moved", 100))
    ]
    header = {"probe": "prose", "kind": "causal-language-modelling"}
    probe = tiny_models.write_probe(tmp_path / "probe.jsonl", header, [{"text": "The sky is blue."}] * 3)
    found = [
        known_scores(
            tmp_path / "jobs",
            open_checkpoint(ModelRef.parse(model)),
            load_probes((str(probe),)),
            lambda progress: None,
            lambda: False,
        )[0]["score"]
        for model in (str(base), *(f"{base}+{lora}" for lora in loras))
    ]
    assert found[0] == found[1] != found[2]


def test_recipe_may_spell_the_adapter_out(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = factors()
    lora = write_adapter(tmp_path / "lora", pairs)
    file = tmp_path / "recipe.yml"
    model = {"model": {"path": str(base)}, "lora": str(lora)}
    file.write_text(
        yaml.safe_dump({"merge_method": "linear", "models": [{"model": model, "parameters": {"weight": 1}}]})
    )
    assert main(["merge", str(file), str(tmp_path / "out")]) == 0
    assert_equal(read_model(tmp_path / "out"), adapted(pairs, 2.0))
    written = (tmp_path / "out" / "mergekit_config.yml").read_text()
    assert "./base+./lora" in written
    assert str(tmp_path) not in written
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`base` with the adapter `lora`" in card
    assert str(tmp_path) not in card


def test_adapted_model_is_no_twin_of_its_base(tmp_path: Path, base: Path) -> None:
    lora = write_adapter(tmp_path / "lora", factors())
    opened = read_recipe(recipe(base, f"{base}+{lora}", method="task_arithmetic"))
    found = examine(opened, open_all(opened))
    assert (found.problems, found.notes) == ((), ())


def test_folder_for_other_libraries_lives_as_long_as_it_is_needed(tmp_path: Path, base: Path) -> None:
    pairs = factors()
    lora = write_adapter(tmp_path / "lora", pairs)
    opened = open_checkpoint(ModelRef.parse(f"{base}+{lora}"))
    with whole_folder(opened, tmp_path / "jobs") as folder:
        assert_equal(read_model(folder), adapted(pairs, 2.0))
        assert (folder / "config.json").exists()
    assert not list((tmp_path / "jobs").iterdir())


# What is refused ------------------------------------------------------------------------------------------

WEIGHT = "base_model.model.model.layers.0.q_proj."
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another kind": ({"peft_type": "IA3"}, "is an adapter of type IA3"),
    "DoRA": ({"use_dora": True}, "is a DoRA adapter"),
    "biases": ({"bias": "lora_only"}, "trains biases"),
    "its own bias": ({"lora_bias": True}, "trains biases"),
    "PiSSA": ({"init_lora_weights": "pissa_niter_16"}, "was begun by pissa_niter_16, which changes the base"),
    "repeated layers": ({"layer_replication": [[0, 2]]}, "repeats layers"),
    "alpha that is text": ({"lora_alpha": "8"}, "lora_alpha is '8'"),
    "alpha that is infinite": ({"lora_alpha": math.inf}, "lora_alpha is 'inf'"),
    "pattern that takes forever": ({"alpha_pattern": {"(a+)+b": 1}}, "alpha_pattern is '(a+)+b'"),
    "pattern with choices": ({"alpha_pattern": {"(x|x)" * 26 + "y": 4}}, "alpha_pattern is '(x|x)(x|x)"),
    "pattern with a class": ({"alpha_pattern": {"[qk]_proj": 4}}, "alpha_pattern is '[qk]_proj'"),
    "pattern that repeats": ({"alpha_pattern": {"q+_proj": 4}}, "alpha_pattern is 'q+_proj'"),
    "pattern that is none": ({"alpha_pattern": {"(": 1}}, "alpha_pattern is '('"),
    "a name without end": ({"whole": {"x" * 500: np.ones(3)}}, "a tensor's name is longer than 400 characters"),
    "magnitudes": ({"extra": {f"{WEIGHT}lora_magnitude_vector": np.ones(96)}}, "no weight of a plain LoRA adapter"),
    "half a pair": ({"extra": {"base_model.model.model.norm.lora_A.weight": np.ones((4, 4))}}, "lacks lora_B of"),
    "no such tensor": (
        {"whole": {"model.layers.9.x.weight": np.ones(3)}, "base_model_name_or_path": "acme/other"},
        "changes 'model.layers.9.x.weight', which {base} does not have. It was trained on acme/other.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("settings", "said"), REFUSED.values(), ids=REFUSED)
def test_adapter_that_cannot_be_applied_exactly_is_refused_in_one_line(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str], settings: dict[str, Any], said: str
) -> None:
    lora = write_adapter(tmp_path / "lora", factors(), **settings)
    (tmp_path / "recipe.yml").write_text(recipe(base, f"{base}+{lora}"))
    assert said.format(base=base) in refusal(tmp_path / "recipe.yml", capsys)


def test_adapter_of_a_larger_model_is_refused(tmp_path: Path, base: Path) -> None:
    lora = write_adapter(tmp_path / "lora", factors(modules={"model.layers.0.q_proj": (97, WIDE)}))
    with pytest.raises(UserError, match=r"lora_A \(4, 1500\) and lora_B \(97, 4\) do not make a change of"):
        open_checkpoint(ModelRef.parse(f"{base}+{lora}"))


def test_what_is_no_adapter_is_refused_in_the_place_of_one(tmp_path: Path, base: Path) -> None:
    for name, said in (
        (f"{base}+{base}", "is a full model"),
        (f"{base}+{tmp_path}", "no adapter: it has no"),
    ):
        with pytest.raises(UserError, match=said):
            open_checkpoint(ModelRef.parse(name))


def test_adapter_in_the_place_of_a_model_says_how_to_write_it(tmp_path: Path) -> None:
    lora = write_adapter(tmp_path / "lora", factors())
    with pytest.raises(UserError) as caught:
        open_checkpoint(ModelRef.parse(str(lora)))
    assert caught.value.hint.startswith("Write `base+")


def test_adapter_that_is_a_pickle_is_refused(tmp_path: Path, base: Path) -> None:
    lora = write_adapter(tmp_path / "lora", factors())
    (lora / "adapter_model.safetensors").rename(lora / "adapter_model.bin")
    with pytest.raises(UserError, match="only as a pickle"):
        open_checkpoint(ModelRef.parse(f"{base}+{lora}"))


def test_damaged_adapter_is_named(tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = {module: (a.copy(), b) for module, (a, b) in factors().items()}
    pairs["model.layers.1.q_proj"][0][2, 7] = np.nan
    lora = write_adapter(tmp_path / "lora", pairs)
    (tmp_path / "recipe.yml").write_text(recipe(base, f"{base}+{lora}"))
    assert f"{base}+{lora}: model.layers.1.q_proj.weight" in refusal(tmp_path / "recipe.yml", capsys)


# The kernel, and PEFT itself ------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "rank", "columns"), [(3, 1, 5), (4, 8, 1024), (2, 16, 2500)])
def test_kernel_agrees_with_numpy_bit_for_bit_wherever_it_is_cut(rows: int, rank: int, columns: int) -> None:
    rng = np.random.default_rng(rank)
    left, right = (
        rng.normal(size=(rows, rank)).astype(np.float32),
        rng.normal(size=(rank, columns)).astype(np.float32),
    )
    start = rng.normal(size=rows * columns).astype(np.float32)
    expected = start.copy()
    add_low_rank_plain(left, right, 0.7, 0, expected)
    for cut in (0, 1, columns - 1, columns + 1, rows * columns):
        found = start.copy()
        add_low_rank(left, right, np.float32(0.7), 0, found[:cut])
        add_low_rank(left, right, np.float32(0.7), cut, found[cut:])
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "settings", [{}, {"use_rslora": True}, {"rank_pattern": {"c_proj": 2}, "alpha_pattern": {"c_fc": 3}}]
)
@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_pefts_own_merge_is_reproduced(tmp_path: Path, architecture: str, settings: dict[str, Any]) -> None:
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    base = getattr(tiny_models, architecture)(tmp_path / "base")
    targets = (
        ["c_attn", "c_proj", "c_fc", "wte"]
        if architecture == "gpt2"
        else ["q_proj", "down_proj", "embed_tokens"]
    )
    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=targets, init_lora_weights=False, **settings)
    wrapped = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    wrapped.save_pretrained(tmp_path / "lora", save_embedding_layers=False)
    wrapped.merge_and_unload().save_pretrained(tmp_path / "expected")
    found = merged(tmp_path, recipe(base, f"{base}+{tmp_path / 'lora'}"))
    expected = read_model(tmp_path / "expected")
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values, rtol=1e-6, atol=1e-6, msg=name)
