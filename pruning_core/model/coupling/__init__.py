"""Which outputs of which layers must be removed together, and what depends on them."""
