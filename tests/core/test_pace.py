"""How long the next merge will take, told from the last ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from merge_core.prepare.pace import FILE, remember, seconds_for

MB = 1_000_000


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIEBREAK_HOME", str(tmp_path))
    return tmp_path


def test_small_work_tells_no_pace() -> None:
    remember("ties", 8 * MB, 2.0)
    assert seconds_for("ties", 500 * MB) is None


def test_one_run_on_a_busy_machine_spoils_no_estimate() -> None:
    remember("ties", 500 * MB, 1.0)
    remember("ties", 500 * MB, 60.0)
    assert seconds_for("ties", 1000 * MB) == pytest.approx(2.0)


def test_machine_that_became_slower_for_good_is_believed_after_five_runs() -> None:
    for seconds in (1.0, 5.0, 5.0, 5.0, 5.0, 5.0):
        remember("ties", 500 * MB, seconds)
    assert seconds_for("ties", 500 * MB) == pytest.approx(5.0)


def test_methods_do_not_share_a_pace() -> None:
    remember("ties", 500 * MB, 1.0)
    assert seconds_for("linear", 500 * MB) is None


@pytest.mark.parametrize("text", ["", "[1]", '{"ties": 4.0}', '{"ties": [0, -1, "x", null, Infinity]}'])
def test_file_that_holds_no_paces_is_as_none(home: Path, text: str) -> None:
    (home / FILE).write_text(text)
    assert seconds_for("ties", 500 * MB) is None
    remember("ties", 500 * MB, 2.0)
    assert seconds_for("ties", 500 * MB) == pytest.approx(2.0)
