import pytest
import torch
from torch import nn

from moebius_edge.training.optim import Average, Muon, Optimizers, cosine, mixes_channels, orthogonalize


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24)])
def test_orthogonalized_matrices_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 7
    values = torch.linalg.svdvals(orthogonalize(matrix))
    assert values.max() < 1.25
    assert values.median() > 0.7


def test_muon_fits_a_linear_map() -> None:
    generator = torch.Generator().manual_seed(0)
    wanted, inputs = (torch.randn(shape, generator=generator) for shape in ((12, 20), (256, 20)))
    weight = nn.Parameter(torch.zeros(12, 20))
    optimizer = Muon([weight], lr=0.1, decay=0.0)
    for step in range(200):
        loss = (inputs @ (weight - wanted).T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 200)
        optimizer.step()
    assert (weight - wanted).abs().max() < 0.05


def test_only_weights_between_channels_go_to_muon() -> None:
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8))
    assert [mixes_channels(n, w) for n, w in model.named_parameters()] == [True] + [False] * 5
    optimizers = Optimizers(model, 1e-3)
    assert [len(part.param_groups[0]["params"]) for part in optimizers.parts] == [1, 5]


def test_the_rate_follows_the_schedule_also_after_a_checkpoint() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    first, second = Optimizers(model, 1e-3), Optimizers(model, 1e-3)
    first.schedule(0.25)
    second.load_state_dict(first.state_dict())
    second.schedule(0.5)
    assert [part.param_groups[0]["lr"] for part in first.parts] == [2.5e-4] * 2
    assert [part.param_groups[0]["lr"] for part in second.parts] == [5e-4] * 2


def test_average_follows_floats_and_copies_integers() -> None:
    norm = nn.BatchNorm1d(2)
    average = Average(norm, decay=0.5)
    with torch.no_grad():
        norm.weight.fill_(3.0)
        norm.num_batches_tracked.fill_(7)
    average.schedule()
    average.update(norm)
    assert average.values["weight"][0] == pytest.approx(3 - 2 * 2 / 11)  # the first updates count more
    assert average.values["num_batches_tracked"] == 7


def test_cosine_rises_then_falls_to_its_floor() -> None:
    assert cosine(0.0) < 0.1
    assert cosine(0.02) == pytest.approx(1.0)
    assert cosine(0.51) == pytest.approx(0.505, abs=0.01)
    assert cosine(1.0) == cosine(2.0) == pytest.approx(0.01)
