"""Pruning Explorer: the script that Streamlit runs. Start it with `make run` or, once installed,
with `pruning-explorer`.
"""

from explorer.app import show

show()
