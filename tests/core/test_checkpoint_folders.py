"""Model folders: which of their files count, and what is wrong with those that cannot be opened."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from merge_core.__main__ import main
from merge_core.checkpoint import open_folder
from merge_core.errors import UserError
from merge_core.prepare.opening import open_checkpoint
from merge_core.recipe import ModelRef
from tests.checkpoints import read_model, write_model
from tests.core.command_line import refusal, write_recipe_file

TENSORS = {f"layers.{i}.weight": np.full((4, 2), i + 1, np.float32) for i in range(4)}
INDEX = "model.safetensors.index.json"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_model(tmp_path / "base", TENSORS)


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    return write_model(tmp_path / "tuned", TENSORS, shards=2)


def rename_weights(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / "model.safetensors").read_bytes())
    (folder / "model.safetensors").unlink()


def break_missing_shard(tuned: Path) -> None:
    (tuned / "model-00002-of-00002.safetensors").unlink()


def break_shard_without_index(tuned: Path) -> None:
    (tuned / INDEX).unlink()
    (tuned / "model-00001-of-00002.safetensors").unlink()


def index_says(tuned: Path, **entries: object) -> None:
    index = json.loads((tuned / INDEX).read_text())
    index["weight_map"].update({name.replace("_", "."): value for name, value in entries.items()})
    (tuned / INDEX).write_text(json.dumps(index))


def break_outside_file(tuned: Path) -> None:
    index_says(tuned, layers_0_weight="../base/model.safetensors")


def break_absolute_file(tuned: Path) -> None:
    index_says(tuned, layers_0_weight="/etc/x.safetensors")


def break_wrong_shard(tuned: Path) -> None:
    index_says(tuned, layers_0_weight="model-00002-of-00002.safetensors")


def break_unknown_tensor(tuned: Path) -> None:
    index_says(tuned, layers_9_weight="model-00002-of-00002.safetensors")


def break_file_no_text(tuned: Path) -> None:
    index_says(tuned, layers_0_weight=7)


def break_index_no_json(tuned: Path) -> None:
    (tuned / INDEX).write_text("{")


def break_index_without_map(tuned: Path) -> None:
    (tuned / INDEX).write_text("{}")


def break_index_nested(tuned: Path) -> None:
    (tuned / INDEX).write_text("[" * 100_000)


def break_tensor_twice(tuned: Path) -> None:
    (tuned / INDEX).unlink()
    first = tuned / "model-00001-of-00002.safetensors"
    (tuned / "model-00002-of-00002.safetensors").write_bytes(first.read_bytes())


def break_two_models(tuned: Path) -> None:
    (tuned / INDEX).unlink()
    (tuned / "other.safetensors").write_bytes((tuned / "model-00001-of-00002.safetensors").read_bytes())


def only_pickle(tuned: Path) -> None:
    shutil.rmtree(tuned)
    tuned.mkdir()
    (tuned / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")


def only_adapter(tuned: Path) -> None:
    shutil.rmtree(tuned)
    tuned.mkdir()
    (tuned / "adapter_config.json").write_text("{}")
    (tuned / "adapter_model.safetensors").write_bytes(b"")


def empty_folder(tuned: Path) -> None:
    shutil.rmtree(tuned)
    tuned.mkdir()


def no_folder(tuned: Path) -> None:
    shutil.rmtree(tuned)


def a_file(tuned: Path) -> None:
    shutil.rmtree(tuned)
    tuned.write_bytes(b"")


def config_no_json(tuned: Path) -> None:
    (tuned / "config.json").write_text("no")


def config_a_list(tuned: Path) -> None:
    (tuned / "config.json").write_text("[1]")


DAMAGES = [
    (break_missing_shard, "lacks its weight file 'model-00002-of-00002.safetensors'"),
    (break_shard_without_index, "lacks its weight file 'model-00001-of-00002.safetensors'"),
    (break_outside_file, "found '../base/model.safetensors'"),
    (break_absolute_file, "found '/etc/x.safetensors'"),
    (
        break_wrong_shard,
        "has the tensor 'layers.0.weight' in 'model-00002-of-00002.safetensors'; it is in 'model-0",
    ),
    (break_unknown_tensor, "'layers.9.weight' in 'model-00002-of-00002.safetensors'; it is nowhere"),
    (break_file_no_text, "found '7'"),
    (break_index_no_json, f"{INDEX} is not JSON"),
    (break_index_without_map, "expected a `weight_map`"),
    (break_index_nested, f"{INDEX} is not JSON"),
    (break_tensor_twice, "hold the tensor 'layers.0.weight'"),
    (break_two_models, f"holds 3 safetensors files and no {INDEX}"),
    (only_pickle, "'pytorch_model.bin' only, a pickle, which can run code"),
    (only_adapter, "is an adapter, not a full model"),
    (empty_folder, "holds no weights: expected model.safetensors"),
    (no_folder, "There is no folder"),
    (a_file, "is a file; expected a model's folder"),
    (config_no_json, "config.json is not JSON"),
    (config_a_list, "config.json: expected an object, found list"),
]


@pytest.mark.parametrize(("damage", "sentence"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damaged_folder_is_refused_in_one_line_and_nothing_is_written(
    damage: object, sentence: str, base: Path, tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(tuned)  # type: ignore[operator]
    said = refusal(write_recipe_file(tuned.parent, base, [tuned]), capsys)
    assert str(tuned) in said
    assert sentence in said


def test_pickle_is_refused_with_how_to_convert_it(
    base: Path, tuned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only_pickle(tuned)
    said = refusal(write_recipe_file(tuned.parent, base, [tuned]), capsys)
    assert "save_pretrained(folder, safe_serialization=True)" in said


def test_pickle_beside_safetensors_is_left_alone(base: Path) -> None:
    (base / "pytorch_model.bin").write_bytes(b"\x80")
    checkpoint = open_folder(base, "base")
    assert set(checkpoint.specs) == set(TENSORS)
    assert "pytorch_model.bin" not in checkpoint.files


def test_shards_without_index_are_taken_by_their_numbers(tuned: Path) -> None:
    (tuned / INDEX).unlink()
    assert set(open_folder(tuned, "tuned").specs) == set(TENSORS)


def test_one_safetensors_file_of_any_name_is_the_model(base: Path) -> None:
    rename_weights(base, "weights.safetensors")
    assert {spec.file for spec in open_folder(base, "base").specs.values()} == {"weights.safetensors"}


def snapshot_of(model: Path, repo: Path) -> Path:
    """The model as huggingface_hub keeps it: links to blobs."""
    snapshot = repo / "snapshots" / ("a" * 40)
    (repo / "blobs").mkdir(parents=True)
    (snapshot / "1_Pooling").mkdir(parents=True)
    for number, file in enumerate((*model.iterdir(), model / "config.json")):
        (repo / "blobs" / str(number)).write_bytes(file.read_bytes())
        if not (snapshot / file.name).exists():
            (snapshot / file.name).symlink_to(f"../../blobs/{number}")
        else:
            (snapshot / "1_Pooling" / file.name).symlink_to(f"../../../blobs/{number}")
    return snapshot


def test_links_of_the_hubs_cache_are_followed(base: Path, tmp_path: Path) -> None:
    snapshot = snapshot_of(base, tmp_path / "cache" / "models--acme--base")
    (tmp_path / "moved").symlink_to(tmp_path / "cache")  # as where the cache lies on another disk
    for folder in (snapshot, tmp_path / "moved" / "models--acme--base" / "snapshots" / ("a" * 40)):
        found = open_folder(folder, "acme/base")
        assert set(found.specs) == set(TENSORS)
        assert found.files == ("1_Pooling/config.json", "config.json")


def test_links_within_a_folder_and_to_the_folder_are_followed(base: Path, tmp_path: Path) -> None:
    (base / "model.safetensors").rename(base / "weights")
    (base / "model.safetensors").symlink_to("weights")
    (tmp_path / "linked").symlink_to(base)
    assert set(open_folder(tmp_path / "linked", "linked").specs) == set(TENSORS)


@pytest.mark.parametrize(
    "name",
    [
        "model-00001-of-00002.safetensors",
        INDEX,
        "config.json",
        "merges.txt",
        "LICENSE",
        "1_Pooling/config.json",
    ],
)
@pytest.mark.parametrize("kind", ["folder", "snapshot of another repository", "snapshot"])
def test_link_that_leads_out_is_refused(
    base: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    """Whatever it leads to would be copied into the merge, and published with it."""
    outside = tmp_path / "private"
    folder = tuned
    if kind != "folder":
        folder = snapshot_of(tuned, tmp_path / "models--acme--tuned")
        if kind != "snapshot":
            outside = tmp_path / "models--acme--private" / "blobs" / "1"
            outside.parent.mkdir(parents=True)
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    outside.write_bytes(file.read_bytes() if file.exists() else b"secret")
    file.unlink(missing_ok=True)
    file.symlink_to(outside)
    said = refusal(write_recipe_file(tmp_path, base, [folder]), capsys)
    assert f"{name!r} is a link that leads out of the model's folder" in said


def test_folder_that_is_a_link_leading_out_is_refused(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "tokens.json").write_text("secret")
    (tuned / "1_Pooling").symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match=r"'1_Pooling/tokens\.json' is a link that leads out"):
        open_folder(tuned, "tuned")


def test_weights_rewritten_in_place_change_the_identity_though_their_time_is_kept(base: Path) -> None:
    before, weights = open_folder(base, "base").identity, base / "model.safetensors"
    times = weights.stat()
    with weights.open("r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(b"\7")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert weights.stat().st_mtime_ns == times.st_mtime_ns
    assert open_folder(base, "base").identity != before


def test_rewritten_weights_change_the_identity(base: Path) -> None:
    before = open_folder(base, "base").identity
    assert open_folder(base, "base").identity == before
    content = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").unlink()
    (base / "model.safetensors").write_bytes(content)
    assert open_folder(base, "base").identity != before


def test_folder_with_a_revision_is_refused(base: Path) -> None:
    with pytest.raises(UserError, match="folders have no revisions"):
        open_checkpoint(ModelRef(str(base), "main"))


def test_everything_a_model_needs_is_taken_over_and_nothing_else(base: Path, tuned: Path) -> None:
    wanted = [
        "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "merges.txt",
        "vocab.txt", "vocab.json", "chat_template.jinja", "preprocessor_config.json", "processor_config.json",
        "spiece.model", "added_tokens.json", "modules.json", "1_Pooling/config.json", "LICENSE", "NOTICE",
        "additional_chat_templates/tool.jinja",
    ]  # fmt: skip
    unwanted = [
        "README.md", "modeling_toy.py", "pytorch_model.bin", "optimizer.pt", "trainer_state.json", "training_args.bin",
        ".gitattributes", ".git/config", "adapter_config.json", "onnx/model.json", "runs/events.txt",
        "flax_model.msgpack", "all_results.json", "requirements.txt", "a.b/c.json",
    ]  # fmt: skip
    for name in (*wanted, *unwanted):
        (base / name).parent.mkdir(exist_ok=True)
        (base / name).write_text(f"{{}} {name}")
    out = base.parent / "out"
    assert main(["merge", str(write_recipe_file(base.parent, base, [tuned])), str(out)]) == 0
    made = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert made == {*wanted, "config.json", "model.safetensors", "mergekit_config.yml", "README.md"}
    for name in wanted:
        assert (out / name).read_text() == f"{{}} {name}"
    assert "Tiebreak" in (out / "README.md").read_text()


def test_sharded_and_single_files_of_one_model_merge_alike(base: Path, tuned: Path) -> None:
    single = write_model(tuned.parent / "single", TENSORS)
    outs = []
    for name, model in (("of-shards", tuned), ("of-one", single)):
        folder = tuned.parent / name
        folder.mkdir()
        assert main(["merge", str(write_recipe_file(folder, base, [model])), str(folder / "out")]) == 0
        outs.append(read_model(folder / "out"))
    assert all((outs[0][name] == outs[1][name]).all() for name in TENSORS)
