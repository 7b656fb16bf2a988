"""Parameterisations: decode undoes encode, stays in the box, and passes gradients on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from advbench.core.draws import Draws
from advbench.core.parameterisations import (
    Parameterisation,
    correlate_colours,
    decorrelate_colours,
    fourier,
    pixels,
    sigmoid,
    tanh_box,
)
from tests.strategies import images

Make = Callable[[tuple[int, int, int]], Parameterisation]
MAKERS: dict[str, Make] = {
    "pixels": lambda shape: pixels(),
    "tanh_box": lambda shape: tanh_box(),
    "sigmoid": lambda shape: sigmoid(),
    "fourier": fourier,
    "fourier, steep": lambda shape: fourier(shape, decay=1.5),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@given(image=images())
def test_decode_undoes_encode_up_to_the_shrinking(make: Make, image: Tensor) -> None:
    form = make((image.shape[1], image.shape[2], image.shape[3]))
    z = form.encode(image)
    assert bool(z.isfinite().all())
    torch.testing.assert_close(form.decode(z), image, atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "pixels"])
@given(image=images(), scale=st.sampled_from([0.0, 1.0, 30.0, 1e4]), seed=st.integers(0, 99))
def test_whatever_the_variables_the_image_is_in_the_box(name: str, image: Tensor, scale: float, seed: int) -> None:
    form = MAKERS[name]((image.shape[1], image.shape[2], image.shape[3]))
    z = form.encode(image)
    z = scale * Draws(seed, torch.arange(len(z))).normal(tuple(z.shape[1:]), "test")
    decoded = form.decode(z)
    assert decoded.shape == image.shape
    assert decoded.dtype == torch.float32
    assert bool(((decoded >= 0) & (decoded <= 1)).all())


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (-0.3, 0.7)])
@pytest.mark.parametrize("make", [tanh_box, sigmoid])
def test_any_box_is_reached_to_its_edges_and_never_left(
    make: Callable[[float, float], Parameterisation], low: float, high: float
) -> None:
    form, image = make(low, high), torch.linspace(low, high, 1001).reshape(1, 1, 7, 143)
    torch.testing.assert_close(form.decode(form.encode(image)), image, atol=2e-6, rtol=0)
    ends = form.decode(torch.tensor([-1e6, 1e6]))
    assert ends.tolist() == pytest.approx([low, high])
    assert bool(((ends >= low) & (ends <= high)).all())


@pytest.mark.parametrize("shape", [(3, 33, 48), (3, 4, 5), (1, 5, 4), (2, 1, 3), (3, 1, 1)])
def test_gradients_reach_every_free_frequency(shape: tuple[int, int, int]) -> None:
    """All but the imaginary parts that a real image does not have."""
    form = fourier(shape)
    z = form.encode(torch.full((1, *shape), 0.5)).requires_grad_(True)
    weight = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    (grad,) = torch.autograd.grad((form.decode(z) * weight).sum(), z)
    dead = (grad == 0).nonzero().tolist()
    allowed_rows, allowed_columns = ({0, side // 2} if side % 2 == 0 else {0} for side in shape[1:])
    for _, _, row, column, part in dead:
        assert part == 1
        assert row in allowed_rows
        assert column in allowed_columns
    assert bool((grad[..., 0] != 0).all())


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("shape", [(3, 4, 3), (2, 3, 4)])
def test_gradients_are_those_of_finite_differences(make: Make, shape: tuple[int, int, int]) -> None:
    form = make(shape)
    image = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(form.decode, form.encode(image).requires_grad_(True))


@pytest.mark.parametrize("size", [(8, 8), (33, 48), (7, 5)])
def test_a_zero_spectrum_is_grey_and_one_component_is_nearly_grey(size: tuple[int, int]) -> None:
    form = fourier((3, *size))
    z = torch.zeros_like(form.encode(torch.full((1, 3, *size), 0.5)))
    torch.testing.assert_close(form.decode(z), torch.full((1, 3, *size), 0.5))
    z[:, 0] = 3.0 * Draws(0, torch.arange(1)).normal(tuple(z.shape[2:]), "test")
    decoded = form.decode(z)
    assert float(decoded.std()) > 0.02
    assert float((decoded.amax(1) - decoded.amin(1)).max()) < 0.04  # brightness hardly colours


def test_low_frequencies_weigh_more() -> None:
    """One unit of frequency 1/16 moves the image eight times as far as one of frequency 1/2, before the sigmoid."""
    form = fourier((1, 16, 16))
    z = form.encode(torch.full((2, 1, 16, 16), 0.5))
    z[0, 0, 0, 1, 0] = z[1, 0, 0, 8, 0] = 1e-2
    fields = (form.decode(z) - 0.5).flatten(1)
    # The frequency 1/16 stands for itself and its mirror image.
    assert (fields[0].norm() / fields[1].norm()).item() == pytest.approx(8.0 * 2**0.5, rel=1e-2)
    flat = fourier((1, 16, 16), decay=0.0).decode(z)
    assert ((flat - 0.5)[0].norm() / (flat - 0.5)[1].norm()).item() == pytest.approx(2**0.5, rel=1e-2)


@given(images())
def test_colours_are_mixed_and_unmixed(field: Tensor) -> None:
    torch.testing.assert_close(decorrelate_colours(correlate_colours(field)), field, atol=1e-5, rtol=0)
    if field.shape[1] != 3:
        assert correlate_colours(field) is field


def test_the_colour_matrix_is_the_published_one() -> None:
    """Its first column (0.26, 0.27, 0.27) divided by its own length."""
    mixed = correlate_colours(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)).flatten()
    assert mixed.tolist() == pytest.approx([0.5628, 0.5845, 0.5845], abs=1e-4)
    mixed = correlate_colours(torch.tensor([0.0, 1.0, 0.0]).reshape(1, 3, 1, 1)).flatten()
    assert mixed.tolist() == pytest.approx([0.1948, 0.0, -0.1948], abs=1e-4)


def test_fourier_refuses_another_shape() -> None:
    with pytest.raises(ValueError, match=r"made for images of shape \(3, 8, 8\), got \(3, 8, 9\)"):
        fourier((3, 8, 8)).encode(torch.zeros(1, 3, 8, 9))
