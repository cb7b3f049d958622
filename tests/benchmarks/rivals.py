"""What is measured: Tiebreak as a user starts it, mergekit in an environment of its own, and the floor."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import yaml

VERSION = "0.1.5"
TORCH = "torch==2.13.0"
WEIGHTS = (0.5, 0.3, 0.4)


def recipe(models: Sequence[Path], method: str, dtype: str, parameters: dict[str, object]) -> str:
    """A mergekit recipe; the first model is the base."""
    document: dict[str, object] = {"merge_method": method, "dtype": dtype, "parameters": parameters}
    if method != "linear":
        document["base_model"] = str(models[0])
    weighs = parameters.get("dialect") != "paper"
    document["models"] = [
        {"model": str(path), "parameters": {"weight": w} if weighs else {}}
        for path, w in zip(models[1:], WEIGHTS, strict=True)
    ]
    return yaml.safe_dump(document)


def tiebreak(command: str, recipe: Path, *rest: str) -> list[str]:
    """A command line of Tiebreak, start-up included."""
    return [sys.executable, "-m", "merge_core", command, str(recipe), *rest]


def floor(models: Sequence[Path], out: Path) -> list[str]:
    """Read every input once and write one output, with nothing in between."""
    script = 'out=$1; base=$2; shift; mkdir -p "$out"; cat "$@" > /dev/null; cp "$base" "$out"'
    files = [str(f) for path in models for f in sorted(path.glob("*.safetensors"))]
    base = [str(f) for f in sorted(models[0].glob("*.safetensors"))]
    if len(base) > 1:
        script = script.replace('cp "$base"', "cp " + " ".join(f"'{b}'" for b in base))
    return ["sh", "-c", script, "floor", str(out), *files]


def mergekit(folder: Path) -> Path | None:
    """The `mergekit-yaml` of an environment below `folder`, made if need be; else None, and why on stderr."""
    program = folder / "mergekit" / "bin" / "mergekit-yaml"
    if program.exists():
        return program
    print(f"setting up mergekit {VERSION} in {folder / 'mergekit'}", file=sys.stderr)
    try:
        venv.create(folder / "mergekit", with_pip=True)
        pip = [str(folder / "mergekit" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, TORCH], check=True)  # first and alone: left to choose, pip takes another build
        subprocess.run([*pip, TORCH, f"mergekit=={VERSION}"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"mergekit cannot be installed here, so it is left out: {error}", file=sys.stderr)
        return None
    return program
