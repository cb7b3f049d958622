"""`python -m merge_core` as scripts and people use it: what goes where, exit codes, errors, interruption."""

from __future__ import annotations

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from merge_core import __version__
from merge_core.__main__ import main
from merge_core.cli import commands, terminal
from merge_core.cli.tables import report_text
from merge_core.cli.terminal import Meter, duration, plain, size, took
from merge_core.interference.report import (
    InterferenceReport,
    ModelNorm,
    PairAgreement,
    TensorInterference,
)
from merge_core.methods import METHODS
from merge_core.prepare.pace import remember
from merge_core.progress import Progress
from tests.checkpoints import write_model
from tests.core.command_line import refusal, write_recipe_file
from tests.tiny_models import bert, write_probe

ROOT = Path(__file__).parents[2]
SLOW = Path(__file__).with_name("slow_command.py")


def run(*words: object, cwd: Path | None = None, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "merge_core", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **settings,
    )


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A base and two fine-tunes of three layers, and something outside them."""
    folder = tmp_path_factory.mktemp("family")
    rng = np.random.default_rng(5)
    names = [f"model.layers.{i}.{m}.weight" for i in range(3) for m in ("attn", "mlp")]
    base = {name: rng.standard_normal((256, 128)).astype(np.float32) for name in names}
    base["model.norm.weight"] = np.ones(128, np.float32)
    write_model(folder / "base", base)
    tuned = [
        write_model(folder / name, {k: v + rng.standard_normal(v.shape) / 50 for k, v in base.items()})
        for name in ("code", "math")
    ]
    return folder / "base", tuned


@pytest.fixture
def recipe(family: tuple[Path, list[Path]], tmp_path: Path) -> Path:
    return write_recipe_file(tmp_path, *family)


def test_merge_says_where_it_is_on_stdout_and_nothing_else(recipe: Path, tmp_path: Path) -> None:
    done = run("merge", recipe, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{tmp_path / 'out'}: 787.8 kB in ")
    assert len(done.stdout.splitlines()) == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "config.json",
        "mergekit_config.yml",
        "model.safetensors",
    ]


def test_relative_paths_start_where_the_command_is_run(
    family: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    for model in (family[0], *family[1]):
        (tmp_path / model.name).symlink_to(model)
    write_recipe_file(tmp_path, Path("./base"), [Path("code"), Path("./math")])
    done = run("merge", "recipe.yml", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("out: ")


def test_command_starts_without_the_heavy_libraries(recipe: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from merge_core.__main__ import main\n"
        f"for words in (['merge', {str(recipe)!r}, 'out'], ['inspect', {str(recipe)!r}], ['methods']):\n"
        "    assert main(words) == 0\n"
        "heavy = {'torch', 'transformers', 'gradio', 'plotly', 'huggingface_hub', 'safetensors', 'diskcache'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_inspect_writes_the_documented_keys(recipe: Path, tmp_path: Path) -> None:
    done = run("inspect", recipe, "--json", tmp_path / "report.json")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((tmp_path / "report.json").read_text())
    assert list(report) == ["models", "density", "tensors", "pairs", "norms", "warnings"]
    assert report["density"] == [round(0.01 * step, 2) for step in range(1, 101)]
    assert [Path(model).name for model in report["models"]] == ["code", "math"]
    assert len(report["tensors"]) == 7
    for tensor in report["tensors"]:
        counts = ["name", "layer", "module", "numel", "touched", "contested", "conflicted"]
        assert list(tensor) == [*counts, "energy", "base_energy"]
        for curve in (tensor[key] for key in ("touched", "contested", "conflicted")):
            assert len(curve) == 100
            assert curve == sorted(curve)
            assert all(type(count) is int for count in curve)
        assert tensor["numel"] >= tensor["touched"][99] >= tensor["contested"][99] > tensor["conflicted"][99]
    places = {t["name"]: (t["layer"], t["module"]) for t in report["tensors"]}
    assert places["model.layers.2.mlp.weight"] == (2, "mlp.weight")
    assert places["model.norm.weight"] == (None, "model.norm.weight")
    assert [list(pair) for pair in report["pairs"]] == [["a", "b", "cosine", "sign_agreement"]]


def test_inspect_prints_layers_pairs_and_norms_in_aligned_columns(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(recipe)]) == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    title, by_layer, by_pair, by_model = stdout.rstrip("\n").split("\n\n")
    assert title == "Where 2 task vectors disagree, each trimmed to density 0.5"
    rows = by_layer.splitlines()
    assert [row.split()[0] for row in rows] == ["layer", "0", "1", "2", "outside", "all", "chance"]
    assert len({len(row) for row in rows}) == 1
    assert rows[-1].split()[2:] == ["75.0%", "25.0%", "12.5%", "50.0%"]
    assert by_pair.splitlines()[1].startswith("code × math ")
    assert [row.split()[0] for row in by_model.splitlines()] == ["model", "code", "math"]


def test_a_norm_and_its_range_have_as_many_decimals() -> None:
    norm = ModelNorm("/a/x", 33.09, None, norm_low=33.06, norm_high=33.12389)
    text = report_text(InterferenceReport(("/a/x",), (0.2,), (), (), (norm,)), 0.2)
    assert " 33.09 ± 0.03 " in text


def test_layers_of_two_stacks_keep_their_names_apart() -> None:
    curve = (1,) * 100

    def tensor(stack: str, layer: int | None) -> TensorInterference:
        name = f"{stack}.{layer}.w" if layer is not None else "shared.w"
        return TensorInterference(
            name, layer, "w", stack if layer is not None else "", 4, curve, curve, curve
        )

    grid = tuple(j / 100 for j in range(1, 101))
    blocks = [tensor(stack, number) for stack in ("encoder.block", "decoder.block") for number in (0, 1)]
    tensors = (*blocks, tensor("", None))
    pairs = (PairAgreement("/a/x", "/b/x", None, None),)
    text = report_text(
        InterferenceReport(("/a/x", "/b/x"), grid, tensors, pairs, (ModelNorm("/a/x", 1, None),)), 0.2
    )
    first_words = [line.split("  ")[0].strip() for line in text.splitlines()]
    rows = [word for word in first_words if "block" in word or word in ("outside", "all")]
    assert rows == [
        "decoder.block.0",
        "decoder.block.1",
        "encoder.block.0",
        "encoder.block.1",
        "outside",
        "all",
    ]
    assert "/a/x × /b/x" in text, "folders of one name are told apart by their paths"


def test_check_says_what_a_merge_would_take_and_reads_no_weights(
    recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(recipe)]) == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    assert "model.safetensors" in stdout or "786" in stdout


def test_check_tells_the_time_from_recent_merges(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "home"))
    main(["check", str(recipe)])
    assert "time:" not in capsys.readouterr().out
    remember("ties", 300_000_000, 3000.0)
    main(["check", str(recipe)])
    assert "time: about 24 s to merge, judging by recent work on this machine\n" in capsys.readouterr().out


def test_notes_are_printed_once(
    family: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe_file(tmp_path, *family, name="my merge")
    main(["check", str(recipe)])
    stdout, stderr = capsys.readouterr()
    notes = [line for line in stdout.splitlines() if line.startswith("note: ")]
    assert (len(notes), stderr) == (1, "")
    assert "name is set aside" in notes[0]


def test_methods_lists_every_method_and_parameter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    text = capsys.readouterr().out
    assert main(["methods", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [method["name"] for method in listed] == list(METHODS)
    for method, declared in zip(listed, METHODS.values(), strict=True):
        assert f"{declared.name}: {declared.title}" in text
        assert [p["name"] for p in method["parameters"]] == [p.name for p in declared.parameters]
        for parameter, own in zip(method["parameters"], declared.parameters, strict=True):
            assert f"    {own.name}: {own.describe_range()}" in text
            assert (parameter["low"], parameter["high"], parameter["default"]) == (
                own.low,
                own.high,
                own.default,
            )
            assert parameter["help"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["mrege"], "invalid choice: 'mrege'"),
        (["merge", "r.yml"], "The following arguments are required: OUT."),
        (["merge", "r.yml", "out", "--memory", "lots"], "'lots' is not a size such as 512MiB or 2GB"),
        (["merge", "r.yml", "out", "--threads", "0"], "'0' is not a whole number, at least 1"),
        (["merge", "gone.yml", "out"], "gone.yml cannot be read: No such file or directory."),
        (["inspect", "gone.yml"], "gone.yml cannot be read"),
        (["check", "."], "holds no mergekit_config.yml"),
        (["check", "a\0b"], "cannot be read: not a file name."),
        (["push", "gone", "ada/x"], "There is no folder gone."),
    ],
)
def test_mistake_is_one_error_line_and_exit_code_2(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith("error: ")
    assert sentence in stderr
    assert not list(tmp_path.iterdir())


def test_probe_prints_a_row_per_score_and_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = bert(tmp_path / "model")
    items = [{"text": "a fine film", "label": "good"}, {"text": "a dull one", "label": "bad"}] * 5
    probes = [
        write_probe(
            tmp_path / f"{n}.jsonl",
            {"probe": n, "kind": "text-classification", "labels": ["good", "bad"]},
            items,
        )
        for n in ("films", "plays")
    ]
    command = ["probe", str(model), "--probe", *map(str, probes), "--json", str(tmp_path / "scores.json")]
    capsys.readouterr()  # making the model talks
    assert main(command) == 0
    stdout, stderr = capsys.readouterr()
    assert stderr == ""
    head, *rows = stdout.splitlines()
    assert head.split("  ")[0] == "probe"
    assert [row.split()[0] for row in rows] == ["films", "plays"]
    assert all(row.endswith(" 10") for row in rows)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert [list(score) for score in scores] == [["probe", "metric", "score", "low", "high", "n"]] * 2
    assert f" {scores[0]['score']:.3f} " in rows[0]


def test_merge_measures_itself_beside_its_family_and_tells_it_on_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "home"))
    base, *tuned = (bert(tmp_path / name) for name in ("base", "code", "math"))
    items = [{"text": "a fine film", "label": "good"}, {"text": "a dull one", "label": "bad"}] * 5
    header = {"probe": "films", "kind": "text-classification", "labels": ["good", "bad"]}
    films = write_probe(tmp_path / "films.jsonl", header, items)
    recipe, out = write_recipe_file(tmp_path, base, tuned), tmp_path / "out"
    capsys.readouterr()  # making the models talks

    assert main(["merge", str(recipe), str(out), "--probe", str(films)]) == 0

    said, head, *rows = capsys.readouterr().out.splitlines()
    assert said.startswith(f"{out}: ")
    assert head.split()[:3] == ["model", "probe", "metric"]
    assert [row.split()[:2] for row in rows] == [
        [name, "films"] for name in ("base", "code", "math", "merge")
    ]
    card = (out / "README.md").read_text()
    assert "Nothing has been measured" not in card
    assert "films" in card
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_probe_that_the_models_cannot_answer_is_refused_before_the_merge(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = {"probe": "films", "kind": "text-classification", "labels": ["good"]}
    films = write_probe(tmp_path / "films.jsonl", header, [{"text": "fine", "label": "good"}])
    assert main(["merge", str(recipe), str(tmp_path / "out"), "--probe", str(films)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", ["", "{}", "no json", '{"probe": "x", "kind": "mind-reading"}'])
def test_probe_file_that_is_none_is_refused_before_the_model_is_opened(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    assert main(["probe", "/gone", "--probe", str(tmp_path / "x.jsonl")]) == 2
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: ")
    assert "x.jsonl" in stderr
    assert len(stderr.splitlines()) == 1


def test_help_and_version_are_results(capsys: pytest.CaptureFixture[str]) -> None:
    for words, expected in (
        (["--help"], "COMMAND"),
        (["merge", "--help"], "RECIPE"),
        (["--version"], __version__),
    ):
        with pytest.raises(SystemExit) as over:
            main(words)
        assert over.value.code == 0
        assert expected in capsys.readouterr().out


def occupied(out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")


def a_file(out: Path) -> None:
    out.write_text("years of work")


def a_link_to_nothing(out: Path) -> None:
    out.symlink_to(out.parent / "nowhere")


def a_link_to_a_folder(out: Path) -> None:
    (out.parent / "elsewhere").mkdir()
    out.symlink_to(out.parent / "elsewhere")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (occupied, "is not empty"),
        (a_file, "exists and is no folder"),
        (a_link_to_nothing, "exists and is no folder"),
        (a_link_to_a_folder, "exists and is no folder"),
    ],
)
def test_output_that_is_taken_is_refused_and_stays_as_it_was(
    make: Callable[[Path], None],
    sentence: str,
    recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make(tmp_path / "out")
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert sentence in refusal(recipe, capsys)
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_taken_output_is_found_before_the_models_are_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    occupied(tmp_path / "out")
    assert "is not empty" in refusal(
        write_recipe_file(tmp_path, Path("/gone/base"), [Path("/gone/tuned")]), capsys
    )


def test_empty_folder_may_become_the_output(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert main(["merge", str(recipe), str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_output_where_no_folder_can_be_made_is_refused(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["merge", str(recipe), str(recipe / "out")]) == 2
    assert f"error: {recipe / 'out'} cannot be made: Not a directory." in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yml"]


def test_folders_above_the_output_are_made(recipe: Path, tmp_path: Path) -> None:
    assert main(["merge", str(recipe), str(tmp_path / "a" / "b" / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["out"]


def test_full_disk_is_one_error_line_and_leaves_nothing(recipe: Path, tmp_path: Path) -> None:
    limit = 100_000  # no file may grow beyond, as on a disk that is full
    done = run(
        "merge", recipe, tmp_path / "out",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: No space for {tmp_path / 'out'}: the merge takes 0.8 MB and ")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yml"]


def small_files_only() -> None:
    """No file may grow beyond 1 kB, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def test_inspection_that_cannot_be_kept_is_shown_all_the_same(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for sampled in ([], ["--sample-mb", "0.1"]):
        monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "full"))
        done = run("inspect", recipe, *sampled, preexec_fn=small_files_only)
        monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path / "free"))
        assert (done.returncode, done.stdout) == (0, run("inspect", recipe, *sampled).stdout)
    assert not [path for path in (tmp_path / "full").rglob("*") if path.is_file() and path.suffix == ".json"]


@pytest.mark.parametrize("name", ["report.json", "report.html"])
def test_report_for_a_full_disk_is_one_error_line_and_leaves_nothing(
    name: str, recipe: Path, tmp_path: Path
) -> None:
    target = tmp_path / name
    done = run("inspect", recipe, f"--{target.suffix[1:]}", target, preexec_fn=small_files_only)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {target} cannot be written: File too large.")
    assert len(done.stderr.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yml"]


def test_results_sent_to_a_full_disk_are_one_error_line(recipe: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "merge_core", "inspect", str(recipe)],
            stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: No space: No space left on device.")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("target", ["gone/report.json", "."])
def test_report_with_nowhere_to_go_is_refused_before_the_work(
    target: str,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", str(recipe), "--json", target]) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == ""
    assert stderr.startswith(f"error: {target} cannot be written.")


def test_interrupted_merge_says_so_and_leaves_nothing(recipe: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SLOW), "merge", str(recipe), str(tmp_path / "out"), "--threads", "1"]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        end = time.monotonic() + 30
        while not (tmp_path / ".out.partial" / "model.safetensors").exists():
            assert time.monotonic() < end
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout, stderr) == (130, "", "stopped\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.yml"]


def test_bug_is_one_line_with_its_details_in_a_file(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise ZeroDivisionError("what only a programmer should read")

    monkeypatch.setattr(commands, "check", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["check", str(recipe)]) == 1
    stderr = capsys.readouterr().err
    assert len(stderr.splitlines()) == 1
    assert "programmer" not in stderr
    log = stderr.rstrip("\n").rpartition(" ")[2]
    assert "what only a programmer should read" in Path(log).read_text()


def test_reader_that_has_seen_enough_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m merge_core methods --json | head -c 5",
        shell=True, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "[\n  {"
    assert done.stderr == ""


def test_long_work_says_now_and_then_how_far_it_is_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(terminal, "LINE_EVERY", 0.0)
    stream = StringIO()
    with Meter(stream) as meter:
        meter(Progress(1, 4, "model.layers.0.w", eta=200.0))
        meter(Progress(0, 0, "reading"))
    assert stream.getvalue() == " 25% model.layers.0.w · 3 min 20 s left\nreading\n"


def test_short_work_says_nothing_where_there_is_no_terminal() -> None:
    stream = StringIO()
    with Meter(stream) as meter:
        meter(Progress(1, 4, "model.layers.0.w"))
    assert stream.getvalue() == ""


def test_terminal_shows_one_line_and_ends_clean(recipe: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, str(SLOW), "merge", str(recipe), str(tmp_path / "out")]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        check=True,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # the other end is closed and all is read
            break
        if not data:
            break
        shown += data
    os.close(ours)
    assert done.stdout.startswith(f"{tmp_path / 'out'}: ")
    assert b"\n" not in shown
    assert b"model.layers." in shown
    assert b" left" in shown
    assert shown.endswith(b"\r\x1b[K")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.2, "0 s"), (8, "8 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_are_said_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_what_was_short_is_told_to_a_tenth_of_a_second() -> None:
    assert [took(seconds) for seconds in (0.04, 0.36, 9.94, 9.96, 200)] == [
        "0.0 s",
        "0.4 s",
        "9.9 s",
        "10 s",
        "3 min 20 s",
    ]


def test_without_a_command_the_commands_are_listed() -> None:
    told = run()
    assert told.returncode == 0
    assert "merge a recipe's models into a new folder" in told.stdout
    assert not told.stderr


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2_500_000, "2.5 MB"), (3 * 10**12, "3000.0 GB")],
)
def test_sizes_are_said_in_words(count: int, words: str) -> None:
    assert size(count) == words


def test_names_reach_the_terminal_as_plain_text_on_one_line() -> None:
    assert plain("a\x1b[31m\nb\tc\u202e") == "a�[31m b c�"
