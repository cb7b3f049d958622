"""Tiebreak's page, served. `python app.py`, then open the address it prints."""

from __future__ import annotations

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported

from starlette.middleware import Middleware

from components import theme, workbench
from components.publishing.downloads import Tickets, routes
from components.same_origin import SameOrigin
from components.workspace import ROOT, open_workspace
from merge_core.jobs import Supervisor
from merge_core.probe.reading import LARGEST_FILE


def main() -> None:
    """Serve the page until interrupted; GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say where."""
    os.chdir(ROOT)  # the demo's recipe names its models from here
    for name in ("no_proxy", "NO_PROXY"):  # Gradio asks itself as it starts, and would ask through a proxy
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1", "localhost", "0.0.0.0"]))
    workspace, tickets = open_workspace(), Tickets()
    with Supervisor(workspace.store.root):
        workbench.build(workspace, tickets).launch(
            theme=theme.theme(),
            head=theme.head(),
            app_kwargs={"routes": routes(tickets), "middleware": [Middleware(SameOrigin)]},
            max_file_size=LARGEST_FILE,
            footer_links=[],
            run_history=False,
            ssr_mode=False,
            pwa=False,
            enable_monitoring=False,
            _frontend=False,  # or a busy machine whose first answer takes 3 s would not start
        )


if __name__ == "__main__":
    main()
