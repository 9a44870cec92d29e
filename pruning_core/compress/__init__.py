"""What pruning buys: the bytes of a pruned network in different storage formats."""
