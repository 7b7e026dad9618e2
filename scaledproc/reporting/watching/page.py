"""A run's status as a page that asks for its next state by itself."""

from __future__ import annotations

import base64
import hashlib
import html
from typing import TYPE_CHECKING

from scaledproc._util.html import escaped
from scaledproc.reporting.text import status_text

if TYPE_CHECKING:
    from scaledproc.engine.status import Status

_STYLE = "body{font-family:system-ui;margin:2rem;max-width:70rem}pre{white-space:pre-wrap}progress{width:100%}"
_SCRIPT = """
const main = () => document.querySelector("main");
const ask = async () => {
  try {
    const answer = await fetch(document.body.dataset.live, {cache: "no-store"});
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    if (answer.ok && next) main().replaceWith(document.adoptNode(next));
    if (main().dataset.state === "done") return;
  } catch {}
  setTimeout(ask, 2000);
};
setTimeout(ask, 2000);
"""


def status_page(status: Status, live: str) -> str:
    """The page.

    Parameters
    ----------
    status
        The run's.
    live
        Where the page asks for its next state: a path on the server that it came from.
    """
    done = sum(each.tasks for each in status.done) + sum(each.tasks for each in status.states)
    rules = (
        f"default-src 'none'; style-src {_hash(_STYLE)}; script-src {_hash(_SCRIPT)}; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
        f"<title>{escaped(status.output, 80)}: {escaped(status.state)}</title><style>{_STYLE}</style></head>"
        f'<body data-live="{html.escape(live)}"><main data-state="{escaped(status.state)}">'
        f'<h1>{escaped(status.output)}</h1><progress max="{max(status.tasks, 1)}" value="{done}"></progress>'
        f"<pre>{html.escape(status_text(status))}</pre></main><script>{_SCRIPT}</script></body></html>\n"
    )


def _hash(content: str) -> str:
    digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
    return f"'sha256-{digest}'"
