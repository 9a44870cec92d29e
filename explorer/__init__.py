"""The page: Streamlit and Plotly around `pruning_core`."""
