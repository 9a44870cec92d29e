"""What stands before Streamlit: foreign names are refused, sessions counted, metrics protected."""

import gc
import hmac
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from importlib import import_module
from threading import Event, Thread

from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config
from streamlit.web.server.starlette.starlette_websocket import is_host_allowed

from explorer import metrics
from explorer.logs import is_json, log_event, set_up_logs
from explorer.session.sent_together import keep_loop

LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
DEMO = "PRUNING_EXPLORER_DEMO"
TOKEN = "PRUNING_EXPLORER_TOKEN"
"""The environment variable of the access token. `pruning-explorer --token` sets it."""
HEALTH = "/_stcore/health"
"""Says "ok" under every name: a monitor asks by an address, not by a name."""
METRICS = "/metrics"
PROTECTED = (METRICS, "/_stcore/metrics")
"""Paths for this machine and for who has the token. Streamlit's own metrics name its caches, and
take long."""
IMPORT_SWITCH_SECONDS = 0.0005
"""Seconds after which a thread that imports lets another one run; Python's own value is 0.005."""
_imported = Event()
_imported.set()
UNKNOWN_NAME = (
    "This server does not answer under the name in this address. Use another name of the server, "
    "or start it with --allow-host and this name."
)
REFUSED = "Only from this machine, or with the server's token as 'Authorization: Bearer TOKEN'."


def metrics_routes() -> list[Route]:
    """The path of the metrics."""
    return [Route(METRICS, _metrics, methods=["GET"])]


async def _metrics(_request: Request) -> PlainTextResponse:
    return PlainTextResponse(metrics.text(), media_type="text/plain; version=0.0.4")


class Watched:
    """An ASGI application that counts and logs the sessions of another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on a request to an allowed host; what is protected only for who may read it."""
        if scope["type"] == "websocket":
            await self._session(scope, receive, send)  # Streamlit checks its host
        elif scope["type"] == "http" and not allowed(scope):
            await PlainTextResponse(UNKNOWN_NAME, 403)(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] in PROTECTED and not may_read(scope):
            await PlainTextResponse(REFUSED, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _session(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection of a page, from its first to its last message."""
        began = time.monotonic()
        metrics.add("sessions_opened_total")
        metrics.add("sessions")
        log_event("session opened")
        try:
            await self._app(scope, receive, send)
        finally:
            metrics.add("sessions", -1)
            log_event("session closed", seconds=round(time.monotonic() - began, 1))


def allowed(scope: Scope) -> bool:
    """Is the name in the Host header one of `server.allowedHosts`? Streamlit asks only sessions."""
    return scope["path"] == HEALTH or is_host_allowed(HTTPConnection(scope).headers.get("host"))


def may_read(scope: Scope) -> bool:
    """Does the request come from this machine under a name of it, or does it have the token?

    A proxy on this machine, and a foreign page, have another name in the Host header.
    """
    request = HTTPConnection(scope)
    token = os.environ.get(TOKEN, "")
    given = request.headers.get("authorization", "").encode()
    if token and hmac.compare_digest(given, f"Bearer {token}".encode()):
        return True
    here = request.client is not None and request.client.host in LOCAL_NAMES
    return here and request.url.hostname in LOCAL_NAMES


@asynccontextmanager
async def served(_app: object) -> AsyncIterator[None]:
    """From the start of the server to its end."""
    set_up_logs()
    keep_loop()
    if is_json():
        config.set_option("logger.enableRich", False)  # it prints messages of errors
    _imported.clear()
    Thread(target=_import_app, daemon=True).start()
    with ExitStack() as stack:
        if os.environ.get(DEMO):
            _keep_nothing(stack)
        log_event("server started")
        yield
    log_event("server stopped")


def wait_for_imports() -> None:
    """Waits until the server has imported what it imports at its start.

    Two threads that import the same modules in other orders can wait for each other; Python then
    ends one of them with an error.
    """
    _imported.wait()


def _import_app() -> None:
    """Imports what the first visit needs, such as torch, before a browser asks for a page.

    Meanwhile other threads wait less for Python's lock: a browser loads over a hundred scripts.
    Garbage is not collected meanwhile, and modules are left out of it for ever: each full
    collection of them stops everything for 0.1 to 0.2 s.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(IMPORT_SWITCH_SECONDS)
    gc.disable()
    try:
        import_module("explorer.app")
        gc.freeze()
    finally:
        gc.enable()
        sys.setswitchinterval(usual)
        _imported.set()


def _keep_nothing(stack: ExitStack) -> None:
    """In a demonstration, results of visitors are in a folder that is removed at the end."""
    # Imported here, because without a demonstration the first visit imports them.
    from explorer.limits import limits
    from pruning_core.search.postgres_log import STORAGE
    from pruning_core.zoo.fetch import DOWNLOADS
    from pruning_core.zoo.request import RESULTS

    if limits().demo:
        folder = tempfile.TemporaryDirectory(prefix="pruning-explorer-")
        os.environ |= {RESULTS: stack.enter_context(folder), DOWNLOADS: "off", STORAGE: ""}
