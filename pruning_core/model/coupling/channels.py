"""Numbers for channels: which are tied, which cannot be removed, and which are averaged."""

from collections.abc import Iterable


class Channels:
    """Channels by number, from 1; 0 means no channel. Tied channels form one class.

    reasons: why a channel cannot be removed; averaged: channels that a norm averages over;
    together: channels that another value is computed from, such as their length.
    A statistic, such as the mean over channels, has a number too, and sources. means: those that
    are divided by the number of channels.
    """

    def __init__(self) -> None:
        self._parent = [0]
        self._sources: dict[int, frozenset[int]] = {}
        self._statistics: dict[frozenset[int], int] = {}
        self.reasons: dict[int, str] = {}
        self.averaged: set[int] = set()
        self.together: set[int] = set()
        self.means: set[int] = set()

    def __len__(self) -> int:
        return len(self._parent)

    def new(self, count: int) -> int:
        """Makes `count` new numbers in a row, and gives the first."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return first

    def root(self, channel: int) -> int:
        """The number that stands for all channels tied to this one."""
        parent = self._parent
        while parent[channel] != channel:
            parent[channel] = parent[parent[channel]]
            channel = parent[channel]
        return channel

    def tie(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Ties the channels of each pair; a statistic stands for all its sources."""
        for pair in pairs:
            first, *others = self.sources(pair)
            for other in others:
                low, high = sorted((self.root(first), self.root(other)))
                self._parent[high] = low

    def statistic(self, channels: Iterable[int], *, mean: bool) -> int:
        """The number of a value that is computed from all these channels together."""
        channels = set(channels)
        sources = frozenset(self.sources(channels))
        if sources not in self._statistics:
            number = self.new(1)
            self._statistics[sources] = number
            self._sources[number] = sources
        if mean or channels & self.means:
            self.means.add(self._statistics[sources])
        return self._statistics[sources]

    def is_statistic(self, channel: int) -> bool:
        """Is it the number of a statistic?"""
        return channel in self._sources

    def sources(self, channels: Iterable[int]) -> list[int]:
        """The channels without 0, with the sources in place of statistics."""
        numbers: dict[int, None] = {}
        for channel in channels:
            numbers |= dict.fromkeys(self._sources.get(channel, (channel,)) if channel else ())
        return list(numbers)

    def refuse(self, channels: Iterable[int], reason: str) -> None:
        """Notes why these channels cannot be removed. The first reason stays."""
        for channel in self.sources(channels):
            self.reasons.setdefault(channel, reason)
