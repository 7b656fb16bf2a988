"""deconvnet: transposed filters, recorded switches, and a ReLU that looks at the signal only."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from advbench.attributions.deconvnet import deconvnet
from advbench.core.targets import of_output, unit
from advbench.types import ConfigError
from tests.attributions.relu_twins import WAYS, pictures, twin

LABELS = torch.tensor([0, 1, 3, 2])


def weighed(signal: Tensor) -> object:
    return of_output(lambda output: (output * signal).flatten(1).sum(1))


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"), [(1, 0, 1, 1), (2, 1, 1, 1), (1, 2, 2, 2), (2, 0, 1, 4)]
)
def test_a_layer_is_undone_by_the_transposed_filter(stride: int, padding: int, dilation: int, groups: int) -> None:
    maker = torch.Generator().manual_seed(0)
    weight = torch.randn(8, 4 // groups, 3, 3, generator=maker, dtype=torch.float64)
    x = torch.randn(2, 4, 9, 9, generator=maker, dtype=torch.float64)

    class Layer(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            maps = functional.conv2d(z, weight, None, stride, padding, dilation, groups)
            return functional.relu(maps)

    signal = torch.randn(Layer()(x).shape, generator=maker, dtype=torch.float64)
    undone = functional.conv_transpose2d(signal.clamp_min(0.0), weight, None, stride, padding, 0, groups, dilation)
    heat = deconvnet(Layer(), x, weighed(signal))  # type: ignore[arg-type]
    # A stride may leave the last row and column unseen.
    torch.testing.assert_close(heat[:, :, : undone.shape[2], : undone.shape[3]], undone, rtol=1e-10, atol=1e-12)


def test_switches_are_those_of_unpooling_where_windows_do_not_overlap() -> None:
    x = pictures()
    pooled, places = functional.max_pool2d(x, 2, return_indices=True)
    signal = torch.rand_like(pooled)
    heat = deconvnet(nn.Sequential(nn.MaxPool2d(2), nn.ReLU()), x, weighed(signal))  # type: ignore[arg-type]
    assert torch.equal(heat, functional.max_unpool2d(signal, places, [2, 2]))


def test_windows_that_share_a_maximum_add_their_signals() -> None:
    """One bright pixel in the middle is the maximum of all four windows of kernel 3, stride 2: 1 + 2 + 3 + 4."""
    x = torch.zeros(1, 1, 5, 5)
    x[0, 0, 2, 2] = 1.0
    _, places = functional.max_pool2d(x, 3, 2, return_indices=True)
    signal = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    heat = deconvnet(nn.Sequential(nn.MaxPool2d(3, 2), nn.ReLU()), x, weighed(signal))  # type: ignore[arg-type]
    assert torch.equal(heat, 10.0 * x)
    assert float(functional.max_unpool2d(signal, places, [3, 3], [2, 2])[0, 0, 2, 2]) == 4.0


def test_what_was_open_on_the_way_up_does_not_matter() -> None:
    """Without pooling there are no switches: the map is the same for every image."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten())
        model.append(nn.Linear(64, 3)).double()
    heat = deconvnet(model, pictures(), torch.ones(4, dtype=torch.int64))
    assert torch.equal(heat, heat[:1].expand_as(heat))
    assert bool((heat != 0).any())


def test_of_the_strongest_unit_only_its_receptive_field_is_lit() -> None:
    """The unit (1, 1) of the second convolution sees nothing of the first two rows and columns."""
    heat = deconvnet(twin("modules"), pictures(), unit("second", 3, (1, 1)))
    lit = (heat != 0).any(0)[0]
    assert not bool(lit[:2].any())
    assert not bool(lit[:, :2].any())
    assert bool(lit.any())


@pytest.mark.parametrize("way", WAYS)
def test_it_does_not_matter_how_the_relu_is_called(way: str) -> None:
    expected = deconvnet(twin("modules"), pictures(), LABELS)
    torch.testing.assert_close(deconvnet(twin(way), pictures(), LABELS), expected)


def test_a_network_without_a_relu_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    with pytest.raises(ConfigError, match=r"deconvnet changes what passes a ReLU, and this model calls none.*gradient"):
        deconvnet(model, pictures(), LABELS)


def test_other_activations_are_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.SiLU(), nn.Linear(8, 4)).double()
    with pytest.raises(ConfigError, match="deconvnet is defined for ReLU, and this model uses SiLU"):
        deconvnet(model, pictures(), LABELS)
