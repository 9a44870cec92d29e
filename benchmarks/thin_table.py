"""Thinned = masked for many networks, and torch-pruning beside it: a table in docs/thinning.md.

python -m benchmarks.thin_table          measures what thin.json does not have yet
python -m benchmarks.thin_table NAME...  measures these again
Each network has random weights and a process of its own. Every proved coupling loses a random,
irregular subset of its channels. Norms average over kept channels.
"""
