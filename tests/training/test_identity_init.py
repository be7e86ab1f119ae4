import torch

from moebius_edge.model.config import CONFIGS
from moebius_edge.model.unet import Moebius
from moebius_edge.training.identity_init import start_as_identity


def test_the_first_prediction_is_the_noisy_latents_with_their_means() -> None:
    torch.manual_seed(0)
    model = Moebius(CONFIGS["nano"]).train()
    start_as_identity(model)
    sample = torch.randn(4, 9, 32, 32)
    # Means of opposite sign in pairs of pictures: BatchNorm takes away what a whole batch has in common.
    means = torch.randn(2, 4, 1, 1) * 0.3
    sample[:, :4] += torch.cat([means, -means])
    with torch.no_grad():
        noise = model(sample, torch.tensor([900, 600, 300, 0]), torch.arange(10).expand(4, 10))
    pairs = torch.stack([noise.flatten(), sample[:, :4].flatten()])
    assert torch.corrcoef(pairs)[0, 1] > 0.97
    means = torch.stack([noise.mean((2, 3)).flatten(), sample[:, :4].mean((2, 3)).flatten()])
    assert torch.corrcoef(means)[0, 1] > 0.97
