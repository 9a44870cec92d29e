"""The app that Streamlit serves. Start it with `make run` or with `pruning-explorer`."""

from pathlib import Path

from streamlit.starlette import App

import explorer
from explorer.first_paint import routes

app = App(Path(explorer.__file__).with_name("script.py"), routes=routes())
