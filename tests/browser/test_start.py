"""The app starts where others would not."""

from __future__ import annotations

import time
from pathlib import Path

from tests.browser.conftest import running_app


def test_a_proxy_to_the_world_does_not_stand_between_the_app_and_itself(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    with running_app(tmp_path, http_proxy=nowhere, HTTP_PROXY=nowhere):
        log, until = tmp_path / "app.log", time.monotonic() + 60
        while "public link" not in (said := log.read_text()) and "Traceback" not in said:
            assert time.monotonic() < until, said
            time.sleep(0.2)
    assert "Traceback" not in said
