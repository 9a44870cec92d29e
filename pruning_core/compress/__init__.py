"""What pruning saves: narrower networks, sparse files and their bytes, and measured times."""
