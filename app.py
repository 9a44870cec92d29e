"""The app that Streamlit serves. Start it with `make run` or with `pruning-explorer`."""

from pathlib import Path

from starlette.middleware import Middleware
from streamlit.starlette import App

from explorer import script
from explorer.first_paint import routes
from explorer.serving import Watched, metrics_routes, served

app = App(
    Path(script.__file__).with_name("visit.py"),
    routes=[*routes(), *metrics_routes()],
    middleware=[Middleware(Watched)],
    lifespan=served,
)
