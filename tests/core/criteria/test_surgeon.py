"""The criterion OBS, against the least error that removing one weight can have."""

from dataclasses import replace

import torch
from torch import nn

from pruning_core.criteria import criterion
from pruning_core.model.input_rows import DAMPING
from pruning_core.model.inventory import inventory


def test_the_score_is_the_error_after_the_best_update_of_the_row() -> None:
    """Half the squared error, with the damping's part, of a grouped convolution's outputs: each
    weight is set to zero and the others of its row are solved for.
    """
    convolution = nn.Conv2d(4, 4, (1, 2), groups=2)
    model = nn.Sequential(convolution)
    (layer,) = inventory(model, (4, 3, 4))
    x = torch.randn(5, 4, 3, 4, generator=torch.Generator().manual_seed(0))
    scores = criterion("obs")(model, (layer,), [(x[:2], torch.zeros(2)), (x[2:], torch.zeros(3))])
    columns = nn.functional.unfold(x, (1, 2)).movedim(1, -1).flatten(0, 1).double()
    for o in range(4):
        rows = columns[:, 4 * (o // 2) : 4 * (o // 2) + 4]
        h = rows.T @ rows / len(rows)
        h = h + DAMPING * h.diagonal().mean() * torch.eye(4)
        w = convolution.weight[o].detach().flatten().double()
        for q in range(4):
            kept = [p for p in range(4) if p != q]
            # The change d of the row has d_q = -w_q and minimises d h d / 2.
            d = -w[q] * torch.eye(4, dtype=torch.double)[q]
            d[kept] = torch.linalg.solve(h[kept][:, kept], h[kept, q] * w[q])
            wanted = d @ h @ d / 2
            assert torch.isclose(scores[layer.name][o].flatten()[q].double(), wanted, rtol=1e-4)


def test_layers_without_known_inputs_are_refused() -> None:
    model = nn.Sequential(nn.ConvTranspose2d(2, 2, 2), nn.Flatten(), nn.Linear(8, 2))
    transposed, last = inventory(model, (2, 1, 1))
    assert "is another kind (conv_transpose2d)" in str(criterion("obs").supports(transposed))
    assert criterion("obs").supports(last) is None
    unread = replace(last, macs=0)  # as of a head that is for training only
    assert "does not read 2.weight" in str(criterion("obs").supports(unread))
