"""`inspect --html` writes one page that needs nothing else and in which a tensor's name stays text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from merge_core.__main__ import main
from merge_core.interference.page import as_script_data
from tests.checkpoints import write_model
from tests.core.test_interference import recipe_for

ATTACK = "</script><script>document.title='stolen'</script><img src=x onerror=alert(1)>${alert(2)}{{value}}"


def embedded(page: str) -> dict[str, object]:
    (text,) = re.findall(r'<script type="application/json" id="report">(.*?)</script>', page, re.DOTALL)
    return dict(json.loads(text))


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(2)
    names = {
        "model.layers.0.mlp.experts.0.w1.weight": (20, 16),
        "model.layers.0.mlp.experts.1.w1.weight": (20, 16),
        "model.layers.1.self_attn.q_proj.weight": (160, 160),
        f"model.layers.1.{ATTACK}": (16,),
        "model.norm.weight": (16,),
    }
    base = {name: rng.normal(size=shape) for name, shape in names.items()}
    paths = [str(write_model(tmp_path / "base", base))]
    for number, reach in enumerate((0.01, 0.01, 0.05)):
        tuned = {name: value + rng.normal(0, reach, value.shape) for name, value in base.items()}
        paths.append(str(write_model(tmp_path / f"tuned-{number}", tuned)))
    file = tmp_path / "recipe.yml"
    file.write_text(recipe_for(paths))
    return file


def page_of(recipe: Path, *options: str) -> str:
    out = recipe.parent / "report.html"
    assert main(["inspect", str(recipe), "--html", str(out), *options]) == 0
    return out.read_text(encoding="utf-8")


def test_the_page_refers_to_nothing_outside_itself(recipe: Path) -> None:
    page = page_of(recipe)
    addresses = re.findall(r"""(?:https?:)?//[^\s"'<>]+""", re.sub(r"(?m)^\s*//.*$", "", page))
    assert addresses == ["http://www.w3.org/2000/svg"]  # a name, not an address
    assert "default-src 'none'" in page
    assert not re.search(r"<(?:link|img|iframe|script[^>]+src)", page)


def test_a_name_cannot_leave_the_data(recipe: Path) -> None:
    page = page_of(recipe)
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page
    cells = embedded(page)["cells"]
    assert isinstance(cells, list)
    assert any(ATTACK in cell["tensors"][0] for cell in cells)
    assert "<" not in as_script_data({"<!--": "<script>"})


def test_cells_hold_the_sums_of_their_tensors(recipe: Path) -> None:
    found = embedded(page_of(recipe, "--json", str(recipe.parent / "report.json")))
    report = json.loads((recipe.parent / "report.json").read_text())
    experts = [t for t in report["tensors"] if "experts" in t["name"]]
    cells = found["cells"]
    assert isinstance(cells, list)
    (cell,) = [c for c in cells if c["title"] == "Layer 0 · experts.gate"]
    assert cell["count"] == 2
    assert cell["numel"] == 640
    assert cell["conflicted"] == [sum(pair) for pair in zip(*(t["conflicted"] for t in experts), strict=True)]
    assert found["at"] == 19
    assert found["sampled"] is False
    assert [w["message"] for w in report["warnings"]] == found["warnings"]
    assert "moved" in report["warnings"][0]["message"]


def test_a_samples_page_holds_its_intervals(recipe: Path) -> None:
    found = embedded(page_of(recipe, "--sample-mb", "0.2"))
    assert found["sampled"] is True
    assert isinstance(found["read"], int)
    cells = found["cells"]
    assert isinstance(cells, list)
    (cell,) = [c for c in cells if c["title"] == "Layer 1 · attn.q"]
    assert all(
        low <= n <= high for n, (low, high) in zip(cell["conflicted"], cell["conflicted_bounds"], strict=True)
    )
    assert cell["conflicted_bounds"][19][0] < cell["conflicted_bounds"][19][1]


def test_a_page_that_cannot_be_written_is_found_out_before_the_work(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(recipe), "--html", str(recipe.parent / "no" / "report.html")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_cells_come_as_data_flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "home"))
    modules = ("input_layernorm", "self_attn.k_proj", "self_attn.q_proj", "mlp.down_proj", "mlp.up_proj")
    names = [f"model.layers.{n}.{module}.weight" for n in range(12) for module in modules]
    names += ["model.layers.0.self_attn.q_proj.bias"]
    names += ["lm_head.weight", "model.norm.weight", "model.embed_tokens.weight"]
    rng = np.random.default_rng(4)
    base = {name: rng.normal(size=(8, 8)) for name in names}
    paths = [str(write_model(tmp_path / "base", base))]
    for number in range(2):
        tuned = {name: value + rng.normal(size=value.shape) for name, value in base.items()}
        paths.append(str(write_model(tmp_path / f"tuned-{number}", tuned)))
    recipe = tmp_path / "recipe.yml"
    recipe.write_text(recipe_for(paths))

    page = embedded(page_of(recipe))
    cells = page["cells"]

    assert isinstance(cells, list)
    assert [cell["title"] for cell in cells[-3:]] == ["model.embed_tokens", "model.norm", "lm_head"]
    assert [side["label"] for side in page["before"]] == ["embed_tokens"]
    assert [cell["row"] for cell in cells[:-3]] == [layer for layer in range(12) for _ in modules]
    labels = [column["label"] for column in page["columns"]]
    assert labels == ["norm 1", "attn.q", "attn.k", "mlp.up", "mlp.down"]


def test_a_bias_shares_the_cell_of_its_weight_as_on_the_page(recipe: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    names = [f"model.layers.{n}.self_attn.q_proj.{part}" for n in range(2) for part in ("weight", "bias")]
    base = {name: rng.normal(size=(8,)) for name in names}
    paths = [str(write_model(tmp_path / "biased", base))]
    for number in range(2):
        tuned = {name: value + rng.normal(size=value.shape) for name, value in base.items()}
        paths.append(str(write_model(tmp_path / f"biased-{number}", tuned)))
    recipe.write_text(recipe_for(paths))
    page = embedded(page_of(recipe))
    assert [(c["title"], c["tensors"]) for c in page["cells"]] == [  # type: ignore[attr-defined]
        (f"Layer {n} · attn.q", [names[2 * n + 1], names[2 * n]]) for n in range(2)
    ]
