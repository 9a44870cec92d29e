"""Small events and measurements to draw, and how to find a trace of a figure."""

import plotly.graph_objects as go
import torch

from pruning_core.sensitivity.preview_bands import Band
from pruning_core.tasks import CLASSIFICATION, ClassAnswers
from pruning_core.types import Epoch, Evaluation, SensitivityPoint, Step


def evaluation(top1: float, per_class: tuple[float | None, ...] = (0.5, None)) -> Evaluation:
    zeros = torch.zeros(len(per_class), len(per_class), dtype=torch.int64)
    interval = (max(0.0, top1 - 0.02), min(1.0, top1 + 0.01))
    answers = ClassAnswers(per_class, zeros, torch.zeros(200, dtype=torch.int64))
    values = torch.zeros(200)
    return Evaluation(200, top1, 1 - top1, interval, values, CLASSIFICATION, classes=answers)


def trace(figure: go.Figure, name: str) -> go.Scatter:
    (match,) = [candidate for candidate in figure.data if candidate.name == name]
    return match


def points(layers: int) -> list[SensitivityPoint]:
    grid = (0.8, 0.0, 0.4)
    return [
        SensitivityPoint(
            f"l{n}",
            "fine",
            s,
            s,
            1 + s,
            0.9 - s / 2,
            100,
            (0.8, 0.95),
            -s / 2,
            (-s / 2 - s / 8, s / 16 - s / 2),
        )
        for n in range(layers)
        for s in grid
    ]


def events(epochs: int, steps: int) -> list[Step | Epoch]:
    made: list[Step | Epoch] = []
    for epoch in range(1, epochs + 1):
        made += [Step(epoch, step, steps, 1 / (epoch * step)) for step in range(1, steps + 1)]
        made.append(Epoch(epoch, epochs, 0.5 / epoch, evaluation(0.5 + 0.1 * epoch), epoch == 1))
    return made


def band(sparsity: float, top1: float, images: int, achieved: float | None = None) -> Band:
    removed = sparsity if achieved is None else achieved
    return Band(
        "a", "filter", sparsity, removed, top1, (top1 - 0.1, top1 + 0.05), images, 100, ("a", "b")
    )
