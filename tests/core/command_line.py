"""The command line as its user meets it, in this process: quick, and nothing is stubbed."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from merge_core.__main__ import main


def write_recipe_file(folder: Path, base: Path | None, models: list[Path] | None, **top: object) -> Path:
    """A TIES recipe file, or another method's."""
    document: dict[str, object] = {"merge_method": "ties"}
    if models is not None:
        document["models"] = [{"model": str(model)} for model in models]
    if base is not None:
        document["base_model"] = str(base)
    document["parameters"] = {"weight": 1.0, "density": 0.5}
    document.update(top)
    file = folder / "recipe.yml"
    file.write_text(yaml.safe_dump({key: value for key, value in document.items() if value is not None}))
    return file


def refusal(recipe: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The error with which `merge` refuses `recipe`, a line for each mistake; nothing was written for it."""
    out = recipe.parent / "out"
    before = sorted(path.name for path in recipe.parent.iterdir())
    assert main(["merge", str(recipe), str(out)]) == 2
    assert sorted(path.name for path in recipe.parent.iterdir()) == before
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    lines = stderr.splitlines()
    assert lines
    assert all(line.startswith("error: ") and line.isprintable() for line in lines), stderr
    return "\n".join(line.removeprefix("error: ") for line in lines)
