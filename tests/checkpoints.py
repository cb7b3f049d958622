"""Small real checkpoints on disk, and a TIES written for clarity in float64 to compare with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

TORCH_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def write_model(
    folder: Path,
    tensors: Mapping[str, np.ndarray | torch.Tensor],
    dtype: str = "float32",
    shards: int = 1,
    config: Mapping[str, object] | None = None,
) -> Path:
    """A model folder in Hugging Face form; float arrays are stored as `dtype`, integers as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {}
    for name, values in tensors.items():
        tensor = torch.as_tensor(np.asarray(values)) if not isinstance(values, torch.Tensor) else values
        stored[name] = tensor.to(TORCH_DTYPES[dtype]).contiguous() if tensor.is_floating_point() else tensor
    (folder / "config.json").write_text(
        json.dumps(dict(config or {"architectures": ["Toy"], "model_type": "toy"}))
    )
    if shards == 1:
        save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    names = list(stored)
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
        part = {n: stored[n] for n in names[number::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map.update(dict.fromkeys(part, file))
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": weight_map})
    )
    return folder


def read_model(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a model folder, read by the safetensors library itself."""
    tensors: dict[str, torch.Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors.update(load_file(file))
    return tensors


def as_float64(tensor: torch.Tensor) -> np.ndarray:
    return tensor.to(torch.float64).numpy()


def kept_count(dialect: str, entries: int, density: float) -> int:
    if dialect in ("mergekit", "peft"):
        return entries if density >= 1 else int(density * entries)
    if dialect == "sd-mecha":
        return entries - max(int((1 - density) * entries), 1) + 1
    return min(entries, int(entries * density) + 1)


def trim_mask(dialect: str, tau: np.ndarray, density: float) -> np.ndarray:
    """Which entries of a flat task vector are kept, by sorting all of it."""
    kept = kept_count(dialect, tau.size, density)
    order = np.argsort(-np.abs(tau), kind="stable")
    mask = np.zeros(tau.size, bool)
    mask[order[:kept]] = True
    if dialect in ("paper", "fusionbench", "sd-mecha") and kept:
        mask |= np.abs(tau) >= np.abs(tau[order[kept - 1]])
    return mask & (tau != 0)


DEFAULTS = {
    "mergekit": {"trim_scope": "tensor", "elect": "mass", "combine": "mean", "scale": 1.0},
    "peft": {"trim_scope": "tensor", "elect": "mass", "combine": "mean", "scale": 1.0},
    "paper": {"trim_scope": "model", "elect": "mass", "combine": "mean", "scale": 1.0},
    "fusionbench": {"trim_scope": "model", "elect": "mass", "combine": "sum", "scale": 0.3},
    "sd-mecha": {"trim_scope": "tensor", "elect": "count", "combine": "mean", "scale": 1.0},
}


def reference_ties(
    taus: list[np.ndarray],
    density: list[float],
    weight: list[float],
    dialect: str = "mergekit",
    elect: str | None = None,
    combine: str | None = None,
    normalize: bool = True,
    rescale: bool = False,
    scale: float | None = None,
) -> np.ndarray:
    """TIES-Merging of flat task vectors that form one trim scope, as each dialect's formulas say."""
    preset = DEFAULTS[dialect]
    elect = elect or str(preset["elect"])
    combine = combine or str(preset["combine"])
    if combine == "mean" and not normalize:
        combine = "sum"
    kept = []
    for tau, q in zip(taus, density, strict=True):
        mask = trim_mask(dialect, tau, q)
        trimmed = np.where(mask, tau, 0.0)
        if rescale and np.abs(trimmed).sum() > 0:
            trimmed = trimmed * (np.abs(tau).sum() / np.abs(trimmed).sum())
        kept.append(trimmed)
    hat = np.stack(kept).astype(np.float64)
    w = np.array(weight)[:, None]
    weighted = hat * w
    ballots = weighted if dialect == "mergekit" else hat
    energy = np.sqrt((hat**2).sum(1, keepdims=True))
    shares = ballots / np.where(energy > 0, energy, 1)
    if elect == "mass":
        gamma = np.sign(ballots.sum(0))
    elif elect == "count":
        gamma = np.sign(np.sign(ballots).sum(0))
    elif elect == "normfrac":
        gamma = np.sign(shares[np.abs(shares).argmax(0), np.arange(hat.shape[1])])
    elif elect == "normmass":
        gamma = np.sign((np.sign(shares) * shares**2).sum(0))
    else:
        gamma = None
    if gamma is None:
        agree = ballots != 0
    else:
        if dialect in ("mergekit", "peft"):
            gamma = np.where(gamma == 0, 1, gamma)
        elif dialect in ("paper", "fusionbench"):
            gamma = np.where(gamma == 0, np.sign(gamma.sum()), gamma)
            gamma = np.where(gamma == 0, -1, gamma)
        agree = (np.sign(ballots) == gamma) & (ballots != 0)
    chosen = np.where(agree, weighted, 0.0)
    merged = chosen[np.abs(chosen).argmax(0), np.arange(hat.shape[1])] if combine == "max" else chosen.sum(0)
    if combine == "mean":
        divisor = np.where(agree, w if dialect == "mergekit" else 1.0, 0.0).sum(0)
        merged = merged / np.where(divisor == 0, 1, divisor)
    return merged * (float(preset["scale"]) if scale is None else scale)
