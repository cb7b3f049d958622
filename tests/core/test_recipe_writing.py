"""Recipes written and read back: every recipe that can be made, and what plain mergekit gets."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from merge_core.errors import UserError
from merge_core.methods import METHODS, Parameter
from merge_core.recipe import (
    Filtered,
    ModelEntry,
    ModelRef,
    Recipe,
    Slice,
    check_recipe,
    read_recipe,
    write_plain_mergekit,
    write_recipe,
)
from merge_core.recipe.published import published_recipe
from merge_core.recipe.writer import OUR_OWN

WORDS = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12)
HUB_IDS = st.from_regex(r"[a-z][a-z0-9.-]{0,8}/[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
REFS = st.one_of(
    st.builds(
        ModelRef,
        HUB_IDS,
        st.none() | st.sampled_from(["main", "1.0", "v2", "0e7", "null"]),
        st.none() | HUB_IDS,
    ),
    st.builds(ModelRef, st.builds("./{}".format, WORDS)),
    st.builds(ModelRef, st.builds("/models/{}".format, WORDS)),
)


def scalars(parameter: Parameter) -> st.SearchStrategy[Any]:
    if parameter.kind == "choice":
        return st.sampled_from(parameter.choices)
    if parameter.kind == "bool":
        return st.booleans()
    low = -5.0 if parameter.low is None else parameter.low
    high = 5.0 if parameter.high is None else parameter.high
    return st.floats(low, high, allow_nan=False) | st.integers(int(low), int(high))


def values_of(parameter: Parameter) -> st.SearchStrategy[Any]:
    numbers = scalars(parameter)
    if parameter.kind == "choice":
        return numbers
    gradients = st.lists(numbers, min_size=1, max_size=4).map(tuple) if parameter.kind == "float" else numbers
    rules = st.lists(
        st.builds(Filtered, numbers | gradients, st.none() | WORDS | st.just("*")), min_size=1, max_size=3
    )
    return numbers | gradients | rules.map(tuple)


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """A recipe that passes its checks."""
    method = METHODS[draw(st.sampled_from(sorted(METHODS)))]
    refs = draw(st.lists(REFS, min_size=2, max_size=4, unique=True))

    def settings_for(parameters: list[Parameter]) -> dict[str, Any]:
        chosen = draw(st.lists(st.sampled_from(parameters), unique=True)) if parameters else []
        return {parameter.name: draw(values_of(parameter)) for parameter in chosen}

    per_model = [parameter for parameter in method.parameters if parameter.per_model]
    overall = {"weight": 1.0, **settings_for(list(method.parameters))}
    entries = tuple(ModelEntry(ref, settings_for(per_model)) for ref in refs[1:])
    slices: tuple[Slice, ...] = ()
    if draw(st.booleans()):
        cuts = sorted(draw(st.sets(st.integers(1, 30), min_size=1, max_size=3)))
        slices = tuple(
            Slice(
                first,
                stop,
                settings_for(per_model),
                {e.ref: s for e in entries if (s := settings_for(per_model))},
            )
            for first, stop in zip([0, *cuts], cuts, strict=False)
        )
        entries = tuple(ModelEntry(entry.ref) for entry in entries)
    dtypes = st.none() | st.sampled_from(["float32", "float16", "bfloat16"])
    recipe = Recipe(
        method=method.name,
        base=refs[0] if method.space == "delta" or draw(st.booleans()) else None,
        models=entries,
        parameters=overall,
        dtype=draw(dtypes),
        out_dtype=draw(dtypes),
        tokenizer_source=draw(st.none() | st.sampled_from(["union", *map(str, refs[1:])])),
        chat_template=draw(
            st.none() | st.sampled_from(["auto", "{% for m in messages %}\n{{ m }}\n{% endfor %}"])
        ),
        slices=slices,
    )
    try:
        check_recipe(recipe)
    except UserError:
        reject()
    return recipe


@given(recipes())
@settings(max_examples=120, deadline=None)
def test_written_recipe_is_read_back_as_the_same(recipe: Recipe) -> None:
    text = write_recipe(recipe)
    assert read_recipe(text) == recipe
    assert write_recipe(read_recipe(text)) == text


@given(recipes())
@settings(max_examples=40, deadline=None)
def test_plain_yaml_reads_what_is_written_and_finds_no_alias(recipe: Recipe) -> None:
    text = write_recipe(recipe)
    document = yaml.safe_load(text)
    assert document["merge_method"] == recipe.method
    assert not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))


@given(recipes())
@settings(max_examples=40, deadline=None)
def test_export_to_plain_mergekit_holds_only_mergekits_keys_and_names_the_others(recipe: Recipe) -> None:
    text = write_plain_mergekit(recipe)
    document = yaml.safe_load(text)
    assert not set(OUR_OWN) & set(document.get("parameters", {}))
    own = [name for name in OUR_OWN if name in recipe.parameters]
    assert text.startswith("# Tiebreak merged with ") == bool(own)
    for name in own:
        assert f"{name}: {recipe.parameters[name]}" in text.splitlines()[0]


@given(recipes())
@settings(max_examples=40, deadline=None)
def test_published_recipe_is_a_valid_one_without_a_path(recipe: Recipe) -> None:
    public = published_recipe(recipe, {})
    check_recipe(public)
    assert read_recipe(write_recipe(public)) == public
    assert "/models/" not in write_recipe(public)
    assert len(public.refs()) == len(recipe.refs())
    assert all(ref.path.count("/") == 1 for ref in public.refs())


def test_keys_come_in_one_order_whatever_the_order_they_were_written_in() -> None:
    given_order = (
        "dtype: float16",
        "parameters: {density: 0.5, weight: 1}",
        "models: [{model: a}]",
        "base_model: b",
    )
    assert write_recipe(read_recipe("\n".join((*given_order, "merge_method: ties")))).splitlines() == [
        "merge_method: ties",
        "base_model: b",
        "models:",
        "- model: a",
        "parameters:",
        "  weight: 1",
        "  density: 0.5",
        "dtype: float16",
    ]
