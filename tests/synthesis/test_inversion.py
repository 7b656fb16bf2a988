"""Feature inversion: what is known of a layer comes back, what it forgets does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from advbench.core.draws import Draws
from advbench.synthesis.inversion.error_table import error_table
from advbench.synthesis.inversion.feature_distance import features_of, inversion_errors
from advbench.synthesis.inversion.inversion import inversion, variation_for
from advbench.synthesis.inversion.inversion_pair import inversion_pair
from advbench.testing.witness import state_of
from advbench.types import ConfigError
from tests.attributions.small_nets import pooled_net

DRAWS = Draws(0, torch.arange(2))


def images() -> Tensor:
    return torch.rand(2, 3, 13, 10, generator=torch.Generator().manual_seed(5))


def linear(rows: int, columns: int) -> nn.Module:
    """rows features of columns pixels (1, 1, columns)."""
    layer = nn.Linear(columns, rows, bias=False)
    with torch.no_grad():
        layer.weight.copy_(
            torch.linalg.qr(torch.randn(columns, columns, generator=torch.Generator().manual_seed(1)))[0][:rows]
        )
    return nn.Sequential(nn.Flatten(), layer)


def test_the_image_itself_comes_back_from_layer_zero() -> None:
    model = pooled_net().train()
    before = state_of(model)
    found = inversion(model, images(), draws=DRAWS, layer="input", alpha_weight=0.0, restarts=1)
    assert state_of(model) == before
    torch.testing.assert_close(found, images(), atol=5e-3, rtol=0.0)
    assert float(inversion_errors(model, "input", images(), found).relative.max()) < 0.01


def test_a_linear_layer_gives_back_what_it_sees_and_keeps_the_start_elsewhere() -> None:
    x = 0.3 + 0.4 * torch.rand(2, 1, 1, 6, generator=torch.Generator().manual_seed(0))
    whole = inversion(linear(6, 6), x, draws=DRAWS, layer="1", variation=0.0, alpha_weight=0.0, restarts=1, steps=400)
    torch.testing.assert_close(whole, x, atol=1e-3, rtol=0.0)
    model = linear(3, 6)
    part = inversion(model, x, draws=DRAWS, layer="1", variation=0.0, alpha_weight=0.0, restarts=1, steps=400)
    torch.testing.assert_close(model(part), model(x), atol=1e-3, rtol=0.0)
    assert float((part - x).abs().max()) > 0.02


def test_the_first_layer_comes_back_below_a_fifth_of_where_it_started() -> None:
    model = pooled_net()
    start = inversion(model, images(), draws=DRAWS, layer="0", restarts=1, steps=0)
    found = inversion(model, images(), draws=DRAWS, layer="0", restarts=1, steps=200, variation=0.0)
    before, after = (inversion_errors(model, "0", images(), each).relative for each in (start, found))
    assert bool((after < 0.2 * before).all())


def test_restarts_keep_the_best() -> None:
    def error(restarts: int) -> Tensor:
        found = inversion(
            pooled_net(), images(), draws=DRAWS, layer="2", variation=0.0, alpha_weight=0.0, steps=6, restarts=restarts
        )
        return inversion_errors(pooled_net(), "2", images(), found).relative

    one, three = error(1), error(6)
    assert bool((three <= one).all())
    assert bool((three < one).any())
    with pytest.raises(ConfigError, match="restarts"):
        inversion(pooled_net(), images(), draws=DRAWS, restarts=0)


def test_both_errors_by_hand() -> None:
    model = nn.Sequential(nn.Identity())
    x = torch.tensor([[3.0, 0.0], [0.0, 4.0]]).reshape(2, 1, 1, 2)
    picture = x.clone()
    picture[0, 0, 0, 1] = 1.5
    errors = inversion_errors(model, "0", x, picture)
    assert errors.relative.tolist() == [0.5, 0.0]
    assert errors.paired.tolist() == pytest.approx([0.3, 0.0])  # the two are 5 apart
    assert bool(inversion_errors(model, "0", x[:1], picture[:1]).paired.isnan().all())


def test_the_strength_rises_with_depth_and_needs_no_name_of_the_network() -> None:
    strengths = [variation_for(pooled_net(), layer, images()) for layer in ("input", "0", "2", "6")]
    assert strengths == sorted(set(strengths))
    assert variation_for(nn.Sequential(pooled_net()), "6", images()) == strengths[-1]
    assert inversion(pooled_net(), images()[:1], draws=DRAWS.rows(torch.arange(1)), steps=1).shape == (1, 3, 13, 10)
    with pytest.raises(ConfigError, match="no layer"):
        inversion(pooled_net(), images(), draws=DRAWS, layer="conv9")


def test_the_table_has_a_row_for_each_strength_and_a_stronger_prior_costs_more() -> None:
    table = error_table(pooled_net(), images(), ["0", "6"], draws=DRAWS, variations=(0.0, 1.0, 100.0), steps=30)
    assert list(table.columns) == ["0", "6"]
    assert table.index.names == ["variation", "error", "statistic"]
    relative = table.xs(("relative", "mean"), level=("error", "statistic"))
    assert relative["0"].tolist() == sorted(relative["0"])
    assert bool((table.xs("sd", level="statistic").to_numpy() >= 0).all())


def test_a_pair_of_equal_images_gives_equal_pictures() -> None:
    pair = inversion_pair(pooled_net(), images(), images(), ["0", "6"], draws=DRAWS, steps=5)
    assert pair.clean.shape == (2, 2, 3, 13, 10)
    assert torch.equal(pair.clean, pair.adversarial)
    moved = inversion_pair(pooled_net(), images(), 1.0 - images(), ["0"], draws=DRAWS, steps=20)
    assert not torch.equal(moved.clean, moved.adversarial)
    assert torch.equal(features_of(pooled_net(), "input", images()), images())
