"""A real browser, and the real app with a home of its own, served while a module's tests run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN = 90  # seconds; the first start on a machine compiles kernels
STOP_WITHIN = 10


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """Debian's Chromium where there is one, with what it needs as root in a container."""
    found = shutil.which("chromium")
    args = ["--no-sandbox", "--disable-dev-shm-usage"]
    return {**browser_type_launch_args, "args": args, **({"executable_path": found} if found else {})}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """As wide as the page is laid out for."""
    return {**browser_context_args, "viewport": {"width": 1440, "height": 900}}


@pytest.fixture(scope="module")
def app_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the real app answers; its jobs live in a folder of this module's own."""
    with running_app(tmp_path_factory.mktemp("home")) as address:
        yield address


@contextmanager
def running_app(home: Path, **environment: str) -> Iterator[str]:
    """The real app in a process of its own, with its jobs in `home`; the address it answers at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    settings = {
        **os.environ,
        "TIEBREAK_HOME": str(home),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONUNBUFFERED": "1",
        **environment,
    }
    log = home / "app.log"
    with log.open("w") as output:
        app = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=settings, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            _wait_for(address, app, log)
            yield address
        finally:
            app.terminate()
            try:
                app.wait(STOP_WITHIN)
            except subprocess.TimeoutExpired:
                app.kill()
                app.wait()


def _wait_for(address: str, app: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        if app.poll() is not None:
            raise RuntimeError(f"the app ended with {app.returncode}:\n{log.read_text()}")
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the app did not answer within {READY_WITHIN} s:\n{log.read_text()}")
