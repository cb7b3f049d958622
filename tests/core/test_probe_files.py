"""Probe files: what is read from them, and what each thing wrong with one is answered with."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from merge_core.errors import UserError
from merge_core.probe import load_probe, reading
from tests.tiny_models import png, write_probe

IMAGES = {"probe": "shoes", "kind": "image-classification", "labels": ["sandal", "sneaker"]}
TEXTS = {"probe": "films", "kind": "text-classification", "labels": ["good", "bad"]}
CHOICES = {"probe": "skies", "kind": "multiple-choice"}
PROSE = {"probe": "novels", "kind": "causal-language-modelling"}
GREY = png(np.zeros((8, 8), np.uint8))


def error_of(path: Path, *lines: object) -> str:
    """The error that a file of these lines is refused with; objects are written as JSON."""
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(raw))
    with pytest.raises(UserError) as refused:
        load_probe(path)
    return str(refused.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "probe.jsonl"


def test_every_kind_is_read_with_its_items(file):
    for header, item in (
        ({**IMAGES, "about": "held out"}, {"image": GREY, "label": "sandal"}),
        (TEXTS, {"text": "A fine film.", "label": "good"}),
        (CHOICES, {"context": "", "choices": [" a", " b"], "answer": 1}),
        (PROSE, {"text": "naïve café"}),
    ):
        probe = load_probe(write_probe(file, header, [item, item]))
        assert (probe.name, probe.kind.name) == (header["probe"], header["kind"])
        assert probe.labels == tuple(header.get("labels", ()))
        assert len(probe.items) == 2


def test_empty_lines_are_passed_over_and_still_counted(file):
    file.write_text("\n" + json.dumps(TEXTS) + "\n\n" + json.dumps({"text": "x", "label": "good"}) + "\n\n")
    assert len(load_probe(file).items) == 1
    assert "line 4: label" in error_of(file, b"", TEXTS, b"", {"text": "x", "label": "odd"})


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ({"text": "no header"}, "probe: expected the probe's name, found nothing"),
        ({**TEXTS, "probe": ""}, "probe: expected a text of at least one character"),
        ({**TEXTS, "probe": "x" * 61}, "probe: expected a text of at least one character, at most 60"),
        ({**TEXTS, "probe": "a\nb"}, "probe: expected a name of printable characters, found 'a\\nb'"),
        ({**TEXTS, "probe": 3}, "found 3"),
        (
            {**TEXTS, "kind": "classification"},
            "kind: expected one of image-classification, text-classification",
        ),
        ({**TEXTS, "kind": ["text"]}, "found a list of 1"),
        ({**TEXTS, "lables": []}, "there is no key 'lables' here. Keys are probe, kind, labels, about"),
        (
            {"probe": "films", "kind": "text-classification"},
            "labels: expected a list of 2 or more texts, found nothing",
        ),
        ({**TEXTS, "labels": ["good", "good"]}, "labels: expected different texts, found 'good' twice"),
        (
            {**TEXTS, "labels": ["good", 1]},
            "labels: expected texts of at most 200 characters, found 1 at place 1",
        ),
        ({**PROSE, "labels": ["good", "bad"]}, "labels: a probe of kind causal-language-modelling has none"),
        ({**TEXTS, "about": 5}, "about: expected a text"),
    ],
)
def test_a_wrong_header_is_refused_by_key(file, header, says):
    assert (message := error_of(file, header)).startswith(f"{file}, line 1: ")
    assert says in message


@pytest.mark.parametrize(
    ("header", "item", "says"),
    [
        (
            TEXTS,
            {"text": "x"},
            "label: expected one of the header's labels, found nothing. They are good, bad",
        ),
        (TEXTS, {"text": "x", "label": "odd"}, "found 'odd'"),
        (TEXTS, {"text": "x", "label": ["good"]}, "found a list of 1"),
        (TEXTS, {"label": "good"}, "text: expected a text of at least one character"),
        (TEXTS, {"text": "", "label": "good"}, "found an empty text"),
        (TEXTS, {"text": "x", "label": "good", "note": 1}, "there is no key 'note' here"),
        (PROSE, {"text": None}, "found null"),
        (
            PROSE,
            {"text": "x" * 200_001},
            "at most 200,000 characters long, found a text of 200,001 characters",
        ),
        (PROSE, b'{"text": "\\ud800"}', "text: expected a text"),
        (CHOICES, {"context": "a", "choices": ["b"], "answer": 0}, "choices: expected a list of 2 or more"),
        (CHOICES, {"context": "a", "choices": ["b", ""], "answer": 0}, "found an empty text at place 1"),
        (CHOICES, {"context": "a", "choices": ["b", "b"], "answer": 0}, "found 'b' twice"),
        (
            CHOICES,
            {"context": "a", "choices": ["b", "c"], "answer": 2},
            "answer: expected a whole number from 0 to 1",
        ),
        (CHOICES, {"context": "a", "choices": ["b", "c"], "answer": True}, "found true"),
        (CHOICES, {"context": "a", "choices": ["b", "c"], "answer": -1}, "found -1"),
        (CHOICES, {"choices": ["b", "c"], "answer": 0}, "context: expected a text at most"),
        (IMAGES, {"image": 5, "label": "sandal"}, "image: expected a PNG as base64, found 5"),
        (IMAGES, {"image": "not base64!", "label": "sandal"}, "image: expected a PNG as base64"),
        (
            IMAGES,
            {"image": "R0lGODlh", "label": "sandal"},
            "image: expected a PNG, found another kind of file",
        ),
        (IMAGES, {"image": GREY[:60], "label": "sandal"}, "image: expected a whole PNG, found a damaged one"),
        (TEXTS, b"[1, 2]", "expected a JSON object, found a list of 2"),
        (TEXTS, b'{"text": "x"', "expected one JSON object, found something else"),
        (TEXTS, b'{"text": "x", "text": "y", "label": "good"}', "the key 'text' stands there twice"),
        (TEXTS, b'{"text": "\xff", "label": "good"}', "expected UTF-8"),
        (TEXTS, b"[" * 200_000, "nested too deep"),
        (TEXTS, b'{"text": ' + b"9" * 5000 + b"}", "numbers too long"),
    ],
)
def test_a_wrong_item_is_refused_by_line_and_key(file, header, item, says):
    good = {"text": "x", "label": "good"} if header is TEXTS else {}
    lines = [header, good, item] if good else [header, item]
    assert (message := error_of(file, *lines)).startswith(f"{file}, line {len(lines)}: ")
    assert says in message


def test_too_few_items_are_refused(file):
    assert "expected 1 items or more, found 0" in error_of(file, TEXTS)
    assert "expected 2 items or more, found 1" in error_of(file, PROSE, {"text": "one"})


def test_what_is_no_file_is_refused(tmp_path, file):
    with pytest.raises(UserError, match="There is no probe file"):
        load_probe(file)
    with pytest.raises(UserError, match="is not a file"):
        load_probe(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="is not a file"):
        load_probe(tmp_path / "pipe")
    assert "is empty" in error_of(file)


def test_a_huge_line_a_huge_file_and_too_many_items_are_refused(file, monkeypatch):
    assert "line 2: expected at most 8 MiB" in error_of(file, TEXTS, b'"' + b"x" * (8 << 20) + b'"')
    with file.open("wb") as grown:
        grown.truncate(reading.LARGEST_FILE + 1)  # no disk is taken: the file is a hole
    with pytest.raises(UserError, match="is larger than 64 MiB"):
        load_probe(file)
    monkeypatch.setattr(reading, "MOST_ITEMS", 2)
    items = [{"text": "x", "label": "good"}] * 3
    assert "line 4: expected at most 2 items" in error_of(file, TEXTS, *items)


def chunk(name: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")


def bomb(width: int, height: int, *chunks: bytes) -> str:
    """A PNG whose header says how large it is, whatever it holds."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IEND", b"")
    return base64.b64encode(data).decode()


def test_images_that_claim_to_be_huge_are_refused_before_they_are_unpacked(file):
    packed = chunk(b"IDAT", zlib.compress(bytes(10_000_000)))
    for sides in ((60_000, 60_000), (2049, 1), (2**31 - 1, 2**31 - 1), (0, 5)):
        item = {"image": bomb(*sides, packed), "label": "sandal"}
        assert f"at most 2048 × 2048 pixels, found {sides[0]} × {sides[1]}" in error_of(file, IMAGES, item)


def test_text_inside_an_image_that_unpacks_to_much_is_refused(file):
    text = chunk(b"zTXt", b"note\x00\x00" + zlib.compress(bytes(50_000_000)))
    pixels = chunk(b"IDAT", zlib.compress(bytes(9 * 8)))
    item = {"image": bomb(8, 8, text, pixels), "label": "sandal"}
    assert "found a damaged one" in error_of(file, IMAGES, item)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([IMAGES, TEXTS, CHOICES, PROSE]))
def test_no_line_whatever_it_holds_gets_past_with_another_error(file, line, header):
    file.write_bytes(json.dumps(header).encode() + b"\n" + line)
    with pytest.raises(UserError):
        load_probe(file)


json_values = st.sampled_from([None, True, 0, -1, 1e300, "", "good", [], ["good"], ["", 1], {}, {"text": []}])


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([IMAGES, TEXTS, CHOICES]),
    st.dictionaries(st.sampled_from(["image", "text", "label", "context", "choices", "answer"]), json_values),
)
def test_values_of_any_type_are_read_or_refused(file, header, item):
    file.write_text(json.dumps(header) + "\n" + json.dumps(item))
    try:
        probe = load_probe(file)
    except UserError:
        return
    assert len(probe.items) == 1


def test_reading_probes_imports_neither_torch_nor_transformers(file):
    write_probe(file, TEXTS, [{"text": "x", "label": "good"}])
    code = (
        "import sys; from pathlib import Path; from merge_core.probe import load_probe, run_probe;"
        "load_probe(Path(sys.argv[1])); print({'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
