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
        )


if __name__ == "__main__":
    main()
