"""The transfer family: each method is its paper's algorithm, written out once more one sample at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import convolve
from torch import Tensor, nn
from torch.testing import assert_close

from advbench.attacks.gradient.mi_fgsm import mi_fgsm
from advbench.attacks.transfer.admix import admix
from advbench.attacks.transfer.copies import admixed, chained, darkened, resized, shuffled_blocks
from advbench.attacks.transfer.di_fgsm import di_fgsm
from advbench.attacks.transfer.momentum_ascent import momentum_ascent
from advbench.attacks.transfer.ni_fgsm import ni_fgsm
from advbench.attacks.transfer.si_fgsm import si_fgsm
from advbench.attacks.transfer.sia import sia
from advbench.attacks.transfer.smoothing import gaussian
from advbench.attacks.transfer.ti_fgsm import ti_fgsm
from advbench.attacks.transfer.transfer import transfer
from advbench.attacks.transfer.vmi_fgsm import vmi_fgsm
from advbench.core.draws import Draws
from advbench.core.sampling import in_ball
from advbench.types import ConfigError, ThreatModel
from tests.attacks.small_nets import Counting, conv_net, images
from tests.strategies import images as any_images
from tests.strategies import seeds

EPS, STEPS = 0.02, 10
THREAT = ThreatModel(inf, EPS)
OFF = {"mixes": 0, "diversity": 0.0}
FAMILY = (ni_fgsm, di_fgsm, ti_fgsm, si_fgsm, vmi_fgsm, admix, sia, momentum_ascent)
Slope = Callable[[Tensor], Tensor]


def written_out(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    slope_at: Callable[[Slope, Tensor, Tensor, int, int], Tensor],
) -> Tensor:
    """Momentum ascent with `slope_at`(gradient of the loss, z, momentum, step, sample) in place of the gradient."""
    results = []
    for b, (image, label) in enumerate(zip(x, y, strict=True)):

        def slope(z: Tensor, label: Tensor = label) -> Tensor:
            leaf = z.detach().clone().requires_grad_(True)
            return torch.autograd.grad(nn.functional.cross_entropy(model(leaf), label[None]), leaf)[0]

        z, g = image[None].clone(), torch.zeros_like(image[None])
        for t in range(STEPS):
            step = slope_at(slope, z, g, t, b)
            g = g + step / step.abs().mean()
            z = (z + EPS / STEPS * g.sign()).clamp(image - EPS, image + EPS).clamp(0.0, 1.0)
        results.append(z)
    return torch.cat(results)


def agree(found: Tensor, expected: Tensor) -> None:
    """Equal but for components whose momentum is so near 0 that rounding decides its sign."""
    assert float(((found - expected).abs() > 1e-5).float().mean()) < 0.01


def test_nesterov_looks_ahead() -> None:
    model = conv_net()
    x, y, draws = images(model)
    expected = written_out(model, x, y, lambda slope, z, g, t, b: slope(z + EPS / STEPS * g))
    agree(ni_fgsm(model, x, y, THREAT, draws=draws, early_stop=False), expected)
    plain = mi_fgsm(model, x, y, THREAT, draws=draws, early_stop=False)
    assert not torch.allclose(expected, plain)


@pytest.mark.parametrize("nesterov", [False, True])
def test_scales_are_averaged(nesterov: bool) -> None:
    model = conv_net()
    x, y, draws = images(model)

    def slope_at(slope: Slope, z: Tensor, g: Tensor, t: int, b: int) -> Tensor:
        at = z + EPS / STEPS * g if nesterov else z
        return sum((slope(at / 2**i) / 2**i for i in range(3)), torch.zeros_like(z)) / 3

    found = si_fgsm(model, x, y, THREAT, draws=draws, early_stop=False, scales=3, nesterov=nesterov)
    agree(found, written_out(model, x, y, slope_at))


def test_translation_blurs_the_gradient() -> None:
    model = conv_net()
    x, y, draws = images(model)
    smooth = gaussian(3)
    expected = written_out(model, x, y, lambda slope, z, g, t, b: smooth(slope(z)))
    agree(ti_fgsm(model, x, y, THREAT, draws=draws, early_stop=False, kernel=3), expected)


def test_the_kernel_is_a_gaussian_that_ends_at_three_deviations() -> None:
    grad = torch.randn(2, 3, 9, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    place = torch.linspace(-3.0, 3.0, 7, dtype=torch.float64)
    row = torch.exp(-0.5 * place**2)
    kernel = (row[:, None] * row / (row[:, None] * row).sum()).numpy()
    found = gaussian(7)(grad)
    for b in range(2):
        for c in range(3):
            expected = torch.from_numpy(convolve(grad[b, c].numpy(), kernel, mode="constant"))
            assert_close(found[b, c], expected, atol=1e-6, rtol=0.0)
    assert torch.equal(gaussian(1)(grad), grad)


def test_variance_is_what_the_last_gradient_lacked_to_its_neighbourhood() -> None:
    model = conv_net()
    x, y, draws = images(model)
    count, lack = 4, torch.zeros(len(x), *x.shape[1:])
    branch, ball = draws.branch("neighbours"), ThreatModel(inf, 1.5 * EPS)

    def slope_at(slope: Slope, z: Tensor, g: Tensor, t: int, b: int) -> Tensor:
        here, own = slope(z), branch.rows(torch.tensor([b]))
        around = [slope(z + in_ball(z, ball, own, counter=t * count + k)) for k in range(count)]
        corrected = here + lack[b]
        lack[b] = (sum(around, torch.zeros_like(z)) / count - here)[0]
        return corrected

    found = vmi_fgsm(model, x, y, THREAT, draws=draws, early_stop=False, neighbours=count)
    agree(found, written_out(model, x, y, slope_at))


def test_admix_averages_mixed_and_darkened_copies() -> None:
    model = conv_net()
    x, y, draws = images(model)
    pool = torch.rand(5, 1, 6, 6, generator=torch.Generator().manual_seed(3))

    def slope_at(slope: Slope, z: Tensor, g: Tensor, t: int, b: int) -> Tensor:
        total = torch.zeros_like(z)
        for j in range(2):
            index = draws.rows(torch.tensor([b])).integers(5, (), "other", 2 * t + j)
            total += sum((slope((z + 0.2 * pool[index]) / 2**i) / 2**i for i in range(3)), torch.zeros_like(z))
        return total / 6

    found = admix(model, x, y, THREAT, draws=draws, early_stop=False, scales=3, mixes=2, pool=pool)
    agree(found, written_out(model, x, y, slope_at))


@pytest.mark.parametrize("norm", [2.0, inf])
@pytest.mark.parametrize("method", FAMILY, ids=lambda method: method.__name__)
def test_what_is_black_is_the_boxs_to_say(method: Callable[..., Tensor], norm: float) -> None:
    """Images from -1 to 1 instead of 0 to 1 and a network that undoes that: the same examples."""
    model = conv_net().double()
    x, y, draws = images(conv_net(), 8)
    x, undone = x.double(), nn.Sequential(Undone(), model)
    options: dict[str, object] = {"steps": 4, "early_stop": False} | ({"kernel": 3} if method is ti_fgsm else {})
    wide = options | ({"pool": 2.0 * x.flip(0) - 1.0} if method is admix else {})
    narrow = options | ({"pool": x.flip(0)} if method is admix else {})
    expected = method(model, x, y, ThreatModel(norm, 0.1), draws=draws, **narrow)
    found = method(undone, 2.0 * x - 1.0, y, ThreatModel(norm, 0.2, -1.0, 1.0), draws=draws, **wide)
    assert_close((found + 1.0) / 2.0, expected, atol=1e-9, rtol=0.0)


class Undone(nn.Module):
    """Images in [-1, 1] as images in [0, 1]."""

    def forward(self, z: Tensor) -> Tensor:
        return (z + 1.0) / 2.0


def test_with_all_parts_off_it_is_mi_fgsm_and_with_one_on_it_is_that_method() -> None:
    model = conv_net()
    x, y, draws = images(model)
    stops = {"draws": draws, "early_stop": False}

    def composed(**on: object) -> Tensor:
        return momentum_ascent(model, x, y, THREAT, **stops, **{**OFF, **on})

    agree(composed(), written_out(model, x, y, lambda slope, z, g, t, b: slope(z)))
    assert torch.equal(composed(nesterov=True), ni_fgsm(model, x, y, THREAT, **stops))
    assert torch.equal(composed(translation=3), ti_fgsm(model, x, y, THREAT, **stops, kernel=3))
    assert torch.equal(composed(variance=2), vmi_fgsm(model, x, y, THREAT, **stops, neighbours=2))
    assert torch.equal(composed(scales=3, nesterov=True), si_fgsm(model, x, y, THREAT, **stops, scales=3))
    every = composed(nesterov=True, scales=2, diversity=0.7, smallest=0.5, translation=3, variance=2, mixes=2)
    assert not torch.equal(every, composed())


@pytest.mark.parametrize("method", FAMILY, ids=lambda method: method.__name__)
def test_a_white_box_stops_at_success_and_transfer_does_not(method: Callable[..., Tensor]) -> None:
    model = conv_net()
    x, y, draws = images(model)
    threat = ThreatModel(inf, 0.2)
    few = {sia: {"copies": 2}, admix: {"scales": 2, "mixes": 1}, vmi_fgsm: {"neighbours": 2}, ti_fgsm: {"kernel": 3}}
    params = few.get(method, {})
    stopped = method(model, x, y, threat, draws=draws, **params)
    climbed = transfer(nn.Identity(), x, y, threat, draws=draws, substitute=model, via=partial(method, **params))
    assert torch.equal(climbed, method(model, x, y, threat, draws=draws, early_stop=False, **params))
    fooled = model(stopped).argmax(1) != y
    assert float(fooled.float().mean()) >= 0.75
    far, near = ((z - x).abs().flatten(1).amax(1)[fooled] for z in (climbed, stopped))
    assert bool((near <= far + 1e-6).all())
    assert float(near.mean()) < 0.8 * float(far.mean())


@pytest.mark.parametrize("early_stop", [False, True])
def test_who_holds_costs_a_pass_for_each_gradient_and_no_more(early_stop: bool) -> None:
    class Sure(nn.Module):
        """The network's logits with a lead for class 0 that no copy of any image makes up for."""

        def forward(self, z: Tensor) -> Tensor:
            return model(z) + 50.0 * torch.eye(4)[0]

    model = conv_net()
    x, _, draws = images(model, 4)
    for method, few, gradients in (
        (mi_fgsm, {}, 10),
        (ti_fgsm, {"kernel": 3}, 10),
        (ni_fgsm, {}, 10),
        (di_fgsm, {}, 10),
        (si_fgsm, {"scales": 3}, 10 * 3),
        (vmi_fgsm, {"neighbours": 2}, 10 + 9 * 2),
    ):
        counting, y = Counting(Sure(), 4), torch.zeros(4, dtype=torch.int64)
        method(counting, x, y, ThreatModel(inf, 1e-5), draws=draws, early_stop=early_stop, **few)
        assert counting.passes.tolist() == [gradients] * 4


def test_the_iterate_is_asked_about_where_the_model_errs_at_the_place_of_the_gradient() -> None:
    """A shrunk copy is darker: a threshold on the brightness falls there first, and the image itself a little later."""

    class Bright(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            light = z.flatten(1).mean(1)
            return torch.stack([light - 0.52, torch.zeros_like(light)], 1)

    counting, y = Counting(Bright(), 3), torch.zeros(3, dtype=torch.int64)
    x = torch.full((3, 1, 6, 6), 0.6)
    x_adv = di_fgsm(
        counting, x, y, ThreatModel(inf, 0.1), draws=Draws(0, torch.arange(3)), probability=1.0, smallest=0.5
    )
    # 0.6 - 0.01 k < 0.52 from k = 9 on; all nine iterates before it have a copy of at most 0.9 of the light, or so.
    assert bool(((x_adv.mean((1, 2, 3)) - 0.51).abs() < 1e-4).all())
    assert bool((counting.passes > 10).all())
    assert bool((counting.passes <= 20).all())


LOOKS = {
    "resized": resized(0.7, 0.5),
    "darkened": darkened(3),
    "admixed": admixed(2, 0.2, None),
    "blocks": shuffled_blocks(3),
    "chained": chained(resized(1.0, 0.5), darkened(2)),
}


@settings(max_examples=25)
@given(any_images(), st.sampled_from(sorted(LOOKS)), seeds(), st.integers(0, 7))
def test_a_copy_is_a_samples_own(x: Tensor, kind: str, seed: int, number: int) -> None:
    draws, look = Draws(seed, torch.arange(len(x)) + 3), LOOKS[kind]
    together = look(x, draws, number)
    assert together.shape == x.shape
    assert bool(torch.isfinite(together).all())
    for i in range(len(x)):
        row = torch.tensor([i])
        assert_close(look(x[row], draws.rows(row), number), together[row])


def test_a_shrunk_copy_is_the_whole_image_on_black() -> None:
    x = torch.ones(50, 1, 12, 12)
    draws = Draws(0, torch.arange(50))
    small = resized(1.0, 0.5)(x, draws, 0)
    share = 0.5 + 0.5 * draws.uniform((), "size", 0)
    assert_close(small.mean((1, 2, 3)), share.square(), atol=0.06, rtol=0.0)  # all of it lies on the canvas
    assert torch.equal(resized(0.0, 0.5)(x, draws, 0), x)
    kept = (resized(0.4, 0.5)(x, draws, 0) == x).flatten(1).all(1)
    assert 0.4 < float(kept.float().mean()) < 0.8


def test_blocks_move_values_inside_their_own_rectangle() -> None:
    """Seen over many draws: what is moved only is a permutation or a thinning, and each kind occurs."""
    x = torch.arange(1.0, 37.0).reshape(1, 1, 6, 6).expand(300, 1, 6, 6) / 64.0
    draws = Draws(1, torch.arange(300))
    kinds = draws.integers(9, (1, 1), "kind", 0).flatten()
    seen = shuffled_blocks(1)(x, draws, 0)
    image = x[0, 0]
    for kind in range(9):
        for found in seen[kinds == kind][:, 0]:
            values, original = found.flatten().sort().values, image.flatten()
            if kind in (0, 1, 2, 3, 4):
                assert torch.equal(values, original)
            if kind == 0:
                assert any(torch.equal(found, image.roll(s, 0)) for s in range(6))
            if kind == 1:
                assert any(torch.equal(found, image.roll(s, 1)) for s in range(6))
            if kind in (2, 3, 4):
                assert torch.equal(found, image.flip(*{2: (0,), 3: (1,), 4: (0, 1)}[kind]))
            if kind == 5:
                ratio = found / image
                assert float(ratio.std()) < 1e-5
                assert 0.0 <= float(ratio[0, 0]) < 1.0
            if kind == 6:
                assert 0.0 < float((found - image).abs().max()) <= 16 / 255 + 1e-6
            if kind == 7:
                assert 1 < len(found.unique()) < 36
            if kind == 8:
                assert bool(((found == image) | (found == 0)).all())
    assert (kinds.bincount(minlength=9) > 10).all()


def test_blocks_stay_apart() -> None:
    """A value never leaves its rectangle: with blocks of one pixel nothing can be moved."""
    x = torch.rand(40, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    draws = Draws(5, torch.arange(40))
    kind, cuts = draws.integers(9, (2, 2), "kind", 0), draws.integers(3, (1,), "rows", 0)
    across = draws.integers(3, (1,), "columns", 0)
    seen = shuffled_blocks(2)(x, draws, 0)
    quartered = (cuts[:, 0] == 1) & (across[:, 0] == 1)
    assert int(quartered.sum()) > 2
    moved = torch.isin(kind, torch.tensor([0, 1, 2, 3, 4, 7]))
    same = seen[:, 0] == x[:, 0]
    assert bool(same[quartered][moved[quartered]].all())


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        (ni_fgsm, {"steps": 0}),
        (ni_fgsm, {"decay": -1.0}),
        (di_fgsm, {"probability": 1.5}),
        (di_fgsm, {"smallest": 0.0}),
        (ti_fgsm, {"kernel": 4}),
        (si_fgsm, {"scales": 0}),
        (vmi_fgsm, {"neighbours": 0}),
        (vmi_fgsm, {"reach": -0.1}),
        (admix, {"mixes": 0}),
        (admix, {"pool": torch.zeros(2, 3, 6, 6)}),
        (admix, {"pool": torch.zeros(0, 1, 6, 6)}),
        (admix, {"pool": torch.full((2, 1, 6, 6), 255.0)}),
        (admix, {"pool": torch.zeros(2, 1, 6, 6, dtype=torch.uint8)}),
        (admix, {"pool": torch.full((2, 1, 6, 6), torch.nan)}),
        (sia, {"copies": 0}),
        (sia, {"blocks": 0}),
        (momentum_ascent, {"diversity": -0.1}),
        (momentum_ascent, {"translation": 0}),
        (momentum_ascent, {"variance": -1}),
    ],
)
def test_bad_parameters_are_refused(method: Callable[..., Tensor], wrong: dict[str, object]) -> None:
    model = conv_net()
    x, y, draws = images(model, 2)
    with pytest.raises(ConfigError):
        method(model, x, y, THREAT, draws=draws, **wrong)
    with pytest.raises(ConfigError):
        method(model, x, y, ThreatModel(inf, None), draws=draws)


def test_an_l2_step_ahead_is_as_long_as_a_step() -> None:
    model = conv_net()
    x, y, draws = images(model, 4)
    seen: list[Tensor] = []

    class Recording(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            seen.append(z.detach().clone())
            logits: Tensor = model(z)
            return logits

    ni_fgsm(Recording(), x, y, ThreatModel(2, 0.1), draws=draws, early_stop=False, steps=2)
    first, second = (z - x for z in seen)
    assert float(first.abs().max()) == 0.0
    assert_close(second.flatten(1).norm(dim=1), torch.full((4,), 2 * 0.05), atol=1e-3, rtol=0.0)
