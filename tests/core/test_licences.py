"""What models' cards say of terms and descent, and what is said of them: no more than is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from merge_core.checkpoint import open_folder
from merge_core.preflight.licences import asked, in_each_others_way, terms_of, together
from merge_core.preflight.stated import Licence, Stated, read_card, stated
from tests.checkpoints import write_model
from tests.core.test_preflight import verdict


def card(front: str) -> bytes:
    return f"---\n{front}\n---\n# A model\n".encode()


STATED: dict[str, tuple[bytes, Stated]] = {
    "plain": (card("license: apache-2.0"), Stated(Licence("apache-2.0"))),
    "upper case": (card("license: MIT"), Stated(Licence("mit"))),
    "in a list": (card("license:\n- mit"), Stated(Licence("mit"))),
    "several": (card("license: [mit, apache-2.0]"), Stated()),
    "other": (
        card("license: other\nlicense_name: acme-1\nlicense_link: https://acme.org/l"),
        Stated(Licence("other", "acme-1", "https://acme.org/l")),
    ),
    "unknown": (card("license: unknown"), Stated()),
    "script": (card("license: <script>"), Stated()),
    "base": (card("base_model: acme/base"), Stated(None, ("acme/base",))),
    "bases": (card("base_model: [acme/a, acme/b, acme/a]"), Stated(None, ("acme/a", "acme/b"))),
    "no repository": (card("base_model: ../../etc/passwd"), Stated()),
    "no front matter": (b"# A model\nlicense: mit\n", Stated()),
    "broken YAML": (card("license: [mit"), Stated()),
    "alias bomb": (card("a: &a [x]\nb: [*a, *a]\nlicense: mit"), Stated()),
    "no text": (b"---\n\xff\xfe\n---\n", Stated()),
    "cut short": (card("license: mit")[:12], Stated()),
}


@pytest.mark.parametrize(("text", "expected"), STATED.values(), ids=STATED)
def test_card_says_what_it_says_and_nothing_else(text: bytes, expected: Stated) -> None:
    assert read_card(text) == expected


def test_card_of_a_folder_is_read_and_one_that_is_no_file_is_not(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "m", {"w": np.ones(2, np.float32)})
    assert stated(open_folder(folder, "m")) == Stated()
    (folder / "README.md").mkdir()
    assert stated(open_folder(folder, "m")) == Stated()
    (folder / "README.md").rmdir()
    (folder / "README.md").write_bytes(card("license: mit"))
    assert stated(open_folder(folder, "m")).licence == Licence("mit")


ASKED = {
    "apache-2.0": "say that files were changed",
    "cc-by-sa-4.0": "passed on under the same licence",
    "cc-by-nc-4.0": "no commercial use",
    "cc-by-nc-nd-4.0": "no changed version",
    "openrail": "forbids a list of uses",
    "llama3": "begin the merge's name with “Llama 3”",
    "llama3.1": "begin the merge's name with “Llama”",
    "gemma": "bind whoever gets the merge",
    "acme-2.0": "has terms of its own, which its text tells",
}


@pytest.mark.parametrize(("identifier", "words"), ASKED.items())
def test_what_a_licence_asks_is_said(identifier: str, words: str) -> None:
    said = asked(["acme/x"], Licence(identifier))
    assert said.startswith(f"acme/x is under {identifier}, which ")
    assert words in said


def test_models_of_one_licence_are_told_together() -> None:
    assert (
        asked(["a", "b", "c"], Licence("mit")) == "a, b and c are under mit, which asks to keep its notice."
    )


def test_licence_known_under_another_entry_is_recognised() -> None:
    assert terms_of(Licence("other", "Apple AMLR")) == terms_of(Licence("apple-amlr"))


def test_unknown_stays_unknown() -> None:
    assert "names no licence" in asked(["acme/x"], None)
    assert "does not name" in asked(["acme/x"], Licence("other"))
    assert "is not known" in together([("a", Licence("mit")), ("b", None)])


def test_gated_models_terms_are_mentioned() -> None:
    assert asked(["acme/x"], Licence("mit"), gated=True).endswith("what was agreed to for access holds too.")


TOGETHER = {
    ("mit", "apache-2.0"): "they may be combined and passed on.",
    ("mit", "gpl-3.0"): "under the same share-alike licence.",
    ("cc-by-4.0", "cc-by-nc-4.0"): "for no commercial use.",
    ("mit", "cc-by-nd-4.0"): "not passed on",
    ("llama3.1", "mit"): "which have to be read",
    ("gpl-3.0", "cc-by-nc-4.0"): "doubtful: a (gpl-3.0) and b (cc-by-nc-4.0) pull apart",
    ("gpl-3.0", "cc-by-sa-4.0"): "doubtful: a (gpl-3.0) and b (cc-by-sa-4.0) each ask",
    ("gpl-3.0", "gemma"): "doubtful: a (gpl-3.0) and b (gemma) may pull apart",
}


@pytest.mark.parametrize(("pair", "words"), TOGETHER.items(), ids=map(" and ".join, TOGETHER))
def test_whether_licences_may_be_combined(pair: tuple[str, str], words: str) -> None:
    a, b = (Licence(identifier) for identifier in pair)
    assert words in together([("a", a), ("b", b)])
    assert bool(in_each_others_way([("a", a), ("b", b)])) == ("doubtful" in words)
    assert len(in_each_others_way([("a", a), ("b", b)])) <= 1


def test_equal_share_alike_licences_are_no_obstacle() -> None:
    assert in_each_others_way([("a", Licence("gpl-3.0")), ("b", Licence("gpl-3.0"))]) == ()


def pair(folder: Path, base: str | None, tuned: str | None) -> tuple[Path, Path]:
    made = []
    for name, licence in (("base", base), ("tuned", tuned)):
        model = write_model(folder / name, {"w": np.full(4, len(made), np.float32)})
        if licence:
            (model / "README.md").write_bytes(card(f"license: {licence}"))
        made.append(model)
    return made[0], made[1]


def test_permissive_licences_are_no_note_and_stand_among_the_terms(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path, "apache-2.0", "mit")
    found = verdict(tmp_path, base, [tuned])
    assert found.notes == ()
    assert found.terms[-1] == "As far as the licences' names tell, they may be combined and passed on."


def test_licence_that_asks_more_is_a_note(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path, "gpl-3.0", "cc-by-nc-4.0")
    notes = verdict(tmp_path, base, [tuned]).notes
    assert len(notes) == 2
    assert notes[0] == (
        "tuned is under cc-by-nc-4.0, which allows no commercial use, neither of it nor of a merge made from it."
    )
    assert "pull apart" in notes[1]


def test_folders_without_cards_are_nobodys_business(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path, None, None)
    found = verdict(tmp_path, base, [tuned])
    assert (found.notes, found.terms) == ((), ())
