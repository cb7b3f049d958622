"""mergekit's YAML: what it means, and what is wrong with what cannot be read, with its line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from merge_core.__main__ import main
from merge_core.errors import UserError
from merge_core.methods import METHODS, Method, Parameter
from merge_core.prepare import prepare
from merge_core.recipe import Filtered, ModelRef, Recipe, build_recipe, load_recipe, read_recipe
from tests.checkpoints import read_model, write_model
from tests.core.command_line import refusal

LAYERS = 5


def value(recipe: Recipe, name: str, model: str | None, tensor: str, layer: int | None = None) -> Any:
    """A parameter for one tensor of a model of five layers."""
    parameter = METHODS[recipe.method].parameter(name)
    assert parameter is not None
    ref = None if model is None else ModelRef.parse(model)
    return recipe.value(parameter, model=ref, tensor=tensor, layer=layer, layers=LAYERS)


def at_layer(recipe: Recipe, name: str, model: str, layer: int, module: str = "mlp.up_proj.weight") -> Any:
    return value(recipe, name, model, f"model.layers.{layer}.{module}", layer)


# What mergekit means ------------------------------------------------------------------------------------------------

TIES = """
models:
  - model: acme/orca           # no density: 1
    parameters:
      density: [1, 0.7, 0.1]
      weight: 1.0
  - model: acme/platypus
    parameters:
      density: 0.5
      weight: [0, 0.3, 0.7, 1]
  - model: acme/wizard@v1.0
    parameters:
      density: 0.33
      weight:
        - filter: mlp
          value: 0.5
        - value: 0
merge_method: ties
base_model: acme/base
parameters:
  normalize: true
  int8_mask: true
dtype: float16
"""


def test_ties_recipe_of_a_model_card_is_read_as_its_author_meant_it() -> None:
    recipe = read_recipe(TIES)
    assert [str(ref) for ref in recipe.refs()] == [
        "acme/base",
        "acme/orca",
        "acme/platypus",
        "acme/wizard@v1.0",
    ]
    assert (recipe.method, recipe.dtype, recipe.out_dtype) == ("ties", "float16", None)
    assert value(recipe, "normalize", None, "any") is True
    assert value(recipe, "dialect", None, "any") == "mergekit"
    assert any("int8_mask" in note for note in recipe.notes)


@pytest.mark.parametrize(("layer", "density"), [(0, 1.0), (1, 0.85), (2, 0.7), (3, 0.4), (4, 0.1)])
def test_gradient_runs_linearly_from_the_first_layer_to_the_last(layer: int, density: float) -> None:
    assert at_layer(read_recipe(TIES), "density", "acme/orca", layer) == pytest.approx(density)


@pytest.mark.parametrize(("layer", "weight"), [(0, 0.0), (1, 0.225), (2, 0.5), (3, 0.775), (4, 1.0)])
def test_gradient_of_four_numbers_is_interpolated_between_its_neighbours(layer: int, weight: float) -> None:
    assert at_layer(read_recipe(TIES), "weight", "acme/platypus", layer) == pytest.approx(weight)


def test_only_layer_of_a_model_takes_the_gradients_last_value(tmp_path: Path) -> None:
    tensors = {"model.embed_tokens.weight": np.ones((2, 2)), "model.layers.0.mlp.weight": np.ones((2, 2))}
    base = write_model(tmp_path / "base", {name: 0 * values for name, values in tensors.items()})
    tuned = write_model(tmp_path / "tuned", tensors)
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": str(base),
        "models": [{"model": str(tuned), "parameters": {"weight": [0.25, 0.5, 0.75]}}],
    }
    (tmp_path / "recipe.yml").write_text(yaml.safe_dump(recipe))
    assert main(["merge", str(tmp_path / "recipe.yml"), str(tmp_path / "out")]) == 0
    merged = read_model(tmp_path / "out")
    assert merged["model.layers.0.mlp.weight"].unique().tolist() == [0.75]
    assert merged["model.embed_tokens.weight"].unique().tolist() == [0.25]


@pytest.mark.parametrize("tensor", ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"])
def test_tensors_outside_the_layers_take_the_gradients_first_value(tensor: str) -> None:
    assert value(read_recipe(TIES), "density", "acme/orca", tensor) == 1.0


def test_filter_is_a_part_of_the_tensors_name_and_the_first_match_wins() -> None:
    recipe = read_recipe(TIES)
    assert at_layer(recipe, "weight", "acme/wizard@v1.0", 2) == 0.5
    assert at_layer(recipe, "weight", "acme/wizard@v1.0", 2, "self_attn.q_proj.weight") == 0
    rules = "weight: [{filter: proj, value: 1}, {filter: mlp, value: 2}, {filter: '*', value: [3, 4]}]"
    others = "{model: b, parameters: {weight: 1}}"
    recipe = read_recipe(f"merge_method: linear\nmodels: [{{model: a, parameters: {{{rules}}}}}, {others}]")
    assert at_layer(recipe, "weight", "a", 4) == 1
    assert at_layer(recipe, "weight", "a", 4, "mlp.gate.weight") == 2
    assert at_layer(recipe, "weight", "a", 4, "norm.weight") == 4
    assert value(recipe, "weight", "a", "norm.weight") == 3


def test_what_matches_no_filter_falls_to_the_next_level_and_then_to_the_default() -> None:
    text = """
merge_method: ties
base_model: base
models:
- model: a
  parameters: {density: [{filter: mlp, value: 0.1}], weight: 2}
- model: b
parameters: {weight: 1, density: [{filter: attn, value: 0.2}]}
"""
    recipe = read_recipe(text)
    found = {m: at_layer(recipe, "density", "a", 0, f"{m}.weight") for m in ("mlp", "attn", "norm")}
    assert found == {"mlp": 0.1, "attn": 0.2, "norm": 1.0}
    assert (value(recipe, "weight", "a", "x"), value(recipe, "weight", "b", "x")) == (2, 1)


def test_base_model_need_not_be_listed_and_where_it_is_it_is_the_base_only() -> None:
    listed = TIES.replace("models:\n", "models:\n  - model: acme/base\n", 1)
    recipe = read_recipe(listed)
    assert recipe == read_recipe(TIES)
    assert any("taken as the base only" in note for note in recipe.notes)


def test_linear_average_counts_a_listed_base_as_a_model() -> None:
    recipe = read_recipe(
        "merge_method: linear\nbase_model: a\nmodels: [{model: a}, {model: b}]\nparameters: {weight: 1}"
    )
    assert [str(entry.ref) for entry in recipe.models] == ["a", "b"]


SLICES = """
merge_method: task_arithmetic
base_model: base
slices:
- sources:
  - {model: a, layer_range: [0, 2], parameters: {weight: 0.1}}
  - {model: b, layer_range: [0, 2]}
  parameters: {weight: 0.2}
- sources:
  - {model: a, layer_range: [2, 5], parameters: {weight: [0, 1]}}
  - {model: b, layer_range: [2, 5]}
parameters: {weight: 0.3, lambda: 0.5}
"""


def test_slices_give_their_layers_parameters_of_their_own_nearest_level_first() -> None:
    recipe = read_recipe(SLICES)
    assert [at_layer(recipe, "weight", "a", layer) for layer in range(5)] == [0.1, 0.1, 0, 0.5, 1]
    assert [at_layer(recipe, "weight", "b", layer) for layer in range(5)] == [0.2, 0.2, 0.3, 0.3, 0.3]
    assert value(recipe, "weight", "b", "model.embed_tokens.weight") == 0.2
    assert value(recipe, "weight", "b", "model.norm.weight") == 0.3


@pytest.mark.parametrize(
    ("spelling", "ref"),
    [
        ("acme/x", ModelRef("acme/x")),
        ("acme/x@main", ModelRef("acme/x", "main")),
        ("acme/x@main+acme/lora@v2", ModelRef("acme/x", "main", "acme/lora@v2")),
        ("./odd@name", ModelRef("./odd@name")),
        ("{model: {path: acme/x, revision: '1.0'}}", ModelRef("acme/x", "1.0")),
        (
            "{model: {path: acme/x}, lora: {path: acme/lora, revision: v2}}",
            ModelRef("acme/x", None, "acme/lora@v2"),
        ),
        ("{path: acme/x}", ModelRef("acme/x")),
    ],
)
def test_every_spelling_of_a_model_is_read(spelling: str, ref: ModelRef) -> None:
    recipe = read_recipe(f"merge_method: linear\nmodels: [{{model: {spelling}}}]\nparameters: {{weight: 1}}")
    assert recipe.models[0].ref == ref


@pytest.mark.parametrize("word", ["bfloat16", "torch.bfloat16"])
def test_dtype_may_have_torchs_prefix(word: str) -> None:
    assert read_recipe(TIES.replace("float16", word)).dtype == "bfloat16"


def test_gradient_and_filter_reach_the_merged_weights(tmp_path: Path) -> None:
    names = [f"model.layers.{i}.{m}.weight" for i in range(3) for m in ("attn", "mlp")]
    base = write_model(tmp_path / "base", {name: np.zeros((2, 2), np.float32) for name in names})
    tuned = write_model(tmp_path / "tuned", {name: np.ones((2, 2), np.float32) for name in names})
    recipe = {
        "merge_method": "task_arithmetic",
        "base_model": str(base),
        "models": [
            {
                "model": str(tuned),
                "parameters": {"weight": [{"filter": "mlp", "value": [0, 1]}, {"value": 3}]},
            }
        ],
    }
    (tmp_path / "recipe.yml").write_text(yaml.safe_dump(recipe))
    assert main(["merge", str(tmp_path / "recipe.yml"), str(tmp_path / "out")]) == 0
    found = {name: float(tensor[0, 0]) for name, tensor in read_model(tmp_path / "out").items()}
    assert [found[f"model.layers.{i}.mlp.weight"] for i in range(3)] == [0, 0.5, 1]
    assert [found[f"model.layers.{i}.attn.weight"] for i in range(3)] == [3, 3, 3]


# Every parameter that a method declares -----------------------------------------------------------------------------

DECLARED = [(method, parameter) for method in METHODS.values() for parameter in method.parameters]


def with_parameter(method: Method, parameter: Parameter, setting: Any, *, on_model: bool = False) -> str:
    document: dict[str, Any] = {"merge_method": method.name, "models": [{"model": "a"}, {"model": "b"}]}
    if method.space == "delta":
        document["base_model"] = "base"
    document["parameters"] = {"weight": 1.0}
    if on_model:
        document["models"][0]["parameters"] = {parameter.name: setting}
    else:
        document["parameters"][parameter.name] = setting
    return yaml.safe_dump(document)


def sample(parameter: Parameter) -> Any:
    """A valid value that is not the default."""
    if parameter.kind == "choice":
        return next(choice for choice in parameter.choices if choice != parameter.default)
    return {"bool": not parameter.default, "int": 3}.get(parameter.kind, 0.25)


@pytest.mark.parametrize(("method", "parameter"), DECLARED, ids=[f"{m.name}-{p.name}" for m, p in DECLARED])
def test_every_declared_parameter_is_reachable_from_yaml(method: Method, parameter: Parameter) -> None:
    recipe = read_recipe(with_parameter(method, parameter, sample(parameter)))
    assert recipe.value(parameter, model=None, tensor="x", layer=None, layers=0) == sample(parameter)


@pytest.mark.parametrize(("method", "parameter"), DECLARED, ids=[f"{m.name}-{p.name}" for m, p in DECLARED])
def test_only_what_is_declared_per_model_may_differ_between_models(
    method: Method, parameter: Parameter
) -> None:
    text = with_parameter(method, parameter, sample(parameter), on_model=True)
    if parameter.per_model:
        recipe = read_recipe(text)
        assert recipe.value(parameter, model=ModelRef("a"), tensor="x", layer=None, layers=0) == sample(
            parameter
        )
    else:
        with pytest.raises(UserError, match="cannot differ from model to model"):
            read_recipe(text)


@pytest.mark.parametrize(("method", "parameter"), DECLARED, ids=[f"{m.name}-{p.name}" for m, p in DECLARED])
def test_every_declared_range_is_checked(method: Method, parameter: Parameter) -> None:
    wrong: list[Any] = ["nonsense", {"value": "nonsense"}, [], None, {}]
    if parameter.kind in ("choice", "bool"):
        wrong += [[0.5, 0.7], 0.5]
    else:
        wrong += [float("nan"), float("inf"), True, [0.5, "x"], [0.5, float("nan")]]
        wrong += [] if parameter.low is None else [parameter.low - 0.001]
        wrong += [] if parameter.high is None else [parameter.high + 0.001, [0, parameter.high + 0.001]]
    for setting in wrong:
        with pytest.raises(UserError) as refused:
            read_recipe(with_parameter(method, parameter, setting))
        assert parameter.name in str(refused.value), setting
        assert "line " in str(refused.value)


# What is wrong ------------------------------------------------------------------------------------------------------

GOOD = """merge_method: ties
base_model: base
models:
- model: a
  parameters: {weight: 1, density: 0.5}
- model: b
  parameters: {weight: 1}
"""

WRONG = {
    "unknown top key": (GOOD + "base_modle: x\n", 8, "unknown key 'base_modle'", "Did you mean base_model?"),
    "parameter at the top": (GOOD + "normalize: true\n", 8, "unknown key 'normalize'", "under `parameters:`"),
    "weight beside the model": (
        GOOD.replace("- model: b", "- model: b\n  weight: 2"),
        7, "'weight' in an entry", "one level deeper",
    ),
    "lora list": (GOOD + "lora:\n- x\n", 8, "unknown key 'lora'", "path+lora"),
    "input_model_parameters": (GOOD + "input_model_parameters: {}\n", 8, "unknown key", "under it"),
    "unknown parameter": (
        GOOD.replace("density", "desnity"),
        5, "ties has no parameter 'desnity'", "Did you mean density?",
    ),
    "parameter of another method": (
        GOOD.replace("density", "epsilon"),
        5, "no parameter 'epsilon'", "mergekit's della",
    ),
    "top key among parameters": (GOOD.replace("density: 0.5", "dtype: x"), 5, "no parameter 'dtype'", "at the top"),
    "unknown method": (GOOD.replace("ties", "tise"), 1, "there is no merge method 'tise'", "Did you mean ties?"),
    "method of mergekit alone": (
        GOOD.replace("ties", "della"),
        1, "mergekit's method della yet", "nearest is ties",
    ),
    "no method": (GOOD.replace("merge_method: ties\n", ""), 1, "`merge_method` is missing", "merge_method: ties"),
    "method a list": (GOOD.replace(": ties", ": [ties]"), 1, "expected a name, found a list", ""),
    "no models": ("merge_method: ties\nbase_model: x\n", 1, "no models are listed", "Add `models:`"),
    "models a mapping": ("merge_method: ties\nmodels: {model: a}\n", 2, "expected a list, found a mapping", ""),
    "model a word": ("merge_method: linear\nmodels:\n- a\n", 3, "each entry is a mapping", "Write `- model: a`."),
    "model without name": ("merge_method: linear\nmodels:\n- parameters: {weight: 1}\n", 3, "names no model", ""),
    "no base": (GOOD.replace("base_model: base\n", ""), 1, "ties needs base_model", "Add `base_model:"),
    "missing weight": (
        GOOD.replace("  parameters: {weight: 1}\n", ""),
        6, "b has no weight", "parameters: {weight: 1}",
    ),
    "out of range": (GOOD.replace("0.5", "1.5"), 5, "density must be a number from 0 to 1, found 1.5", ""),
    "not a number": (GOOD.replace("0.5", "half"), 5, "density must be a number from 0 to 1, found 'half'", ""),
    "quoted number": (GOOD.replace("0.5", "'0.5'"), 5, "found '0.5' in quotes", ""),
    "twice": (GOOD + "- model: a\n  parameters: {weight: 1}\n", 8, "a is listed twice", "sum of the weights"),
    "duplicate key": (
        GOOD + "merge_method: linear\n",
        8, "'merge_method' is here again; it is already on line 1", "",
    ),
    "duplicate inner key": (GOOD.replace("{weight: 1}", "{weight: 1, weight: 2}"), 7, "'weight' is here again", ""),
    "anchor": (GOOD.replace("model: a", "model: &x a"), 4, "anchors (&) and aliases (*) are not read", ""),
    "alias": (GOOD.replace("- model: b", "- model: *x"), 6, "anchors (&) and aliases (*) are not read", ""),
    "merge key": (GOOD + "<<: {dtype: float16}\n", 8, "unknown key '<<'", ""),
    "tag": (GOOD.replace("model: a", "model: !!python/name:os.system a"), 4, "tags (!) are not read", ""),
    "tab": (GOOD.replace("  parameters: {weight: 1}", "\tparameters: {weight: 1}"), 7, "not YAML", "not with tabs"),
    "unclosed": (GOOD.replace("{weight: 1}", "{weight: 1"), 8, "not YAML", ""),
    "fenced": ("```yaml\n" + GOOD + "```\n", 1, "not YAML", "Leave out the lines with ```"),
    "too deep": (GOOD + "dtype: " + "[" * 40 + "]" * 40 + "\n", 8, "nested more than 12 levels", ""),
    "two documents": (GOOD + "---\n" + GOOD, 8, "a second document begins", "cut at '---'"),
    "list as key": (GOOD + "? [a]\n: b\n", 8, "cannot be a key", ""),
    "both models and slices": (GOOD + "slices: []\n", 8, "both `models` and `slices`", ""),
    "modules": (GOOD.replace("models:", "modules:"), 3, "`modules`", "filters"),
    "unknown dtype": (GOOD + "dtype: bf16\n", 8, "dtype 'bf16' is not known", "Did you mean bfloat16?"),
    "choice": (GOOD + "parameters: {elect: majority}\n", 8, "elect must be mass | count", ""),
    "empty gradient": (GOOD.replace("0.5", "[]"), 5, "density: the list is empty", ""),
    "gradient out of range": (GOOD.replace("0.5", "[0.1, 2]"), 5, "from 0 to 1, found 2", ""),
    "gradient of words": (GOOD.replace("0.5", "[0.1, x]"), 5, "found 'x'", ""),
    "mixed list": (GOOD.replace("0.5", "[0.1, {value: 2}]"), 5, "not both", "Write `- value: 0.1`."),
    "filter without value": (GOOD.replace("0.5", "{filter: mlp}"), 5, "this filter has no value", ""),
    "filter a list": (
        GOOD.replace("0.5", "{filter: [mlp], value: 1}"),
        5, "a filter is a part of a tensor's name", "",
    ),
    "unknown filter key": (
        GOOD.replace("0.5", "{filtre: mlp, value: 1}"),
        5, "unknown key 'filtre'", "Did you mean filter?",
    ),
    "choice with a gradient": (GOOD + "parameters: {elect: [mass, count]}\n", 8, "elect takes one value", ""),
    "shared setting on a model": (
        GOOD.replace("density: 0.5", "lambda: 0.5"),
        5, "holds for all models together", "top level",
    ),
    "web address": (
        GOOD.replace("- model: b", "- model: https://huggingface.co/acme/b"),
        6, "is a web address", "`acme/b`",
    ),
    "empty revision": (GOOD.replace("- model: b", "- model: acme/b@"), 6, "lacks a part", ""),
    "unprintable name": (GOOD.replace("- model: b", '- model: "b\\e[31m"'), 6, "holds characters", ""),
    "unknown tokenizer": (GOOD + "tokenizer_source: acme/other\n", 8, "is none of the models", "base, union"),
    "tokenizer tokens": (GOOD + "tokenizer: {source: base, tokens: {x: y}}\n", 8, "changes the embeddings", ""),
    "dialect with weights": (
        GOOD.replace("weight: 1,", "weight: 2,") + "parameters: {dialect: paper}\n",
        5, "takes no weights", "",
    ),
    "density by filter over the model": (
        GOOD.replace("0.5", "[0.1, 0.2]") + "parameters: {trim_scope: model}\n",
        5, "ranked over the whole model", "trim_scope: tensor",
    ),
    "weights that cancel": (
        "merge_method: linear\nmodels:\n- {model: a, parameters: {weight: 1}}\n"
        "- {model: b, parameters: {weight: -1}}\n",
        2, "the weights sum to 0", "normalize: false",
    ),
    "stacked layers": (SLICES.replace("[2, 5]", "[1, 5]"), 9, "stack or rearrange layers", "layer by layer"),
    "skipped layers": (SLICES.replace("[2, 5]", "[3, 5]"), 9, "begins with layer 3, expected 2", ""),
    "other models in a slice": (
        SLICES.replace("{model: b, layer_range: [2", "{model: c, layer_range: [2"),
        9, "other models", "",
    ),
    "other layers in a source": (
        SLICES.replace("b, layer_range: [2, 5]", "b, layer_range: [2, 4]"),
        11, "different layers", "",
    ),
    "backward range": (SLICES.replace("[0, 2]", "[2, 0]"), 6, "layer_range must be two whole numbers", ""),
    "a word": ("ties", 1, "expected 'key: value' lines, found 'ties'", ""),
    "a list": ("- a\n- b\n", 1, "expected 'key: value' lines, found a list", ""),
}  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message", "hint"), WRONG.values(), ids=WRONG)
def test_mistake_in_a_recipe_names_its_line_and_how_to_mend_it(
    text: str, line: int, message: str, hint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.yml"
    file.write_text(text)
    said = refusal(file, capsys)
    assert said.startswith(f"{file}, line {line}: "), said
    assert message in said
    assert hint in said
    assert said.count(str(file)) == 1, "one mistake is told once, without what follows from it"


SEVERAL = """\
merge_methd: ties
base_model: base
models:
- model: a
  weight: 2
  parameters: {weight: 1, desnity: 0.5}
- model: b
  parameters: {density: 1.5}
- parameters: {weight: x}
- c
parameters: {elect: majority, lambda: 1}
dtype: bf16
tokenizer: [x]
"""


def lines_told(text: str) -> list[int]:
    with pytest.raises(UserError) as refused:
        read_recipe(text, "recipe")
    return [int(line) for line in re.findall(r"^recipe, line (\d+): ", str(refused.value), re.MULTILINE)]


def test_every_mistake_of_a_recipe_is_told_with_its_line() -> None:
    known = SEVERAL.replace("merge_methd", "merge_method")
    assert lines_told(known) == [5, 6, 8, 9, 9, 10, 11, 12, 13]
    # Without a method nothing is known of parameters; the rest is told all the same.
    assert lines_told(SEVERAL) == [1, 5, 9, 10, 13]


def test_what_is_missing_because_of_a_mistake_is_not_told_as_another_one() -> None:
    assert lines_told(GOOD.replace("weight: 1}", "wieght: 1}")) == [7]  # not: b has no weight
    assert lines_told(GOOD.replace("base_model: base", "base_model: [base]")) == [2]  # not: ties needs a base
    assert lines_told(GOOD.replace("- model: b", "- modle: b") + "tokenizer_source: b\n") == [6, 6]


def test_command_line_tells_every_mistake_of_a_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.yml"
    file.write_text(SEVERAL)
    assert main(["check", str(file)]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 5
    assert all(line.startswith(f"error: {file}, line ") for line in told)


def test_recipe_with_hundreds_of_mistakes_tells_the_first_twenty() -> None:
    many = GOOD + "".join(f"unknown{number}: 1\n" for number in range(300))
    assert lines_told(many) == list(range(8, 28))
    with pytest.raises(UserError, match="There are 280 more"):
        read_recipe(many)


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"# only a comment\n", "is empty"),
        (b"---\n~\n", "is empty"),
        (b"merge_method: \xff\xfe", "is not UTF-8 text"),
        (b"merge_method: ti\x00es", "characters that YAML does not allow"),
        (GOOD.encode("utf-16"), "is not UTF-8 text"),
        (b"x" * 1_000_001, "at most 1,000,000 are read"),
        (b"x" * 5_000_000, "at most 1,000,000 are read"),
        (BOMB.encode(), "anchors (&) and aliases (*) are not read"),
        (b"{" * 100_000, ""),
        (b"[" * 100_000 + b"]" * 100_000, ""),
        (b"? " * 50_000, ""),
        ("é: ☂\n".encode(), "unknown key 'é'"),
        (b'"\\u202e\\x1b[31m": 1\n', "unknown key"),
    ],
    ids=["empty", "comment", "null", "latin", "nul", "utf-16", "long", "endless", "bomb", "braces", "brackets", "keys",
         "unicode", "control"],
)  # fmt: skip
def test_what_is_no_recipe_is_refused(
    content: bytes, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "recipe.yml"
    file.write_bytes(content)
    assert sentence in refusal(file, capsys)


def test_recipe_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    (tmp_path / "r.yml").write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_recipe(tmp_path / "r.yml") == read_recipe(GOOD)


def test_problem_is_found_before_any_model_is_opened(tmp_path: Path) -> None:
    text = GOOD.replace("base_model: base", "base_model: /gone/base").replace("0.5", "1.5")
    with pytest.raises(UserError, match="density must be"):
        prepare(read_recipe(text))


def test_recipe_made_from_controls_is_checked_alike_without_a_line() -> None:
    with pytest.raises(UserError) as refused:
        build_recipe("ties", "base", [("a", {"weight": 1.0, "density": 1.5})])
    assert str(refused.value).startswith("a: density must be a number from 0 to 1, found 1.5.")
    built = build_recipe("ties", "base", [("a", {"weight": 1, "density": (0.1, 0.2)})])
    assert built == read_recipe(
        "merge_method: ties\nbase_model: base\nmodels: [{model: a, parameters: {weight: 1, density: [0.1, 0.2]}}]"
    )


def test_filters_are_read_in_both_of_mergekits_forms() -> None:
    single = read_recipe(GOOD.replace("0.5", "{filter: mlp, value: 0.5}"))
    listed = read_recipe(GOOD.replace("0.5", "[{filter: mlp, value: 0.5}]"))
    assert single == listed
    assert single.models[0].parameters["density"] == (Filtered(0.5, "mlp"),)
