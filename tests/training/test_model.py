from __future__ import annotations

import pytest
import torch

from model_training.model import ResidualUnit, SimpleCNN


def test_it_turns_pictures_into_one_logit_per_class():
    model = SimpleCNN((3, 4, 8), ("a", "b", "c"))
    assert model(torch.zeros(5, 3, 32, 48)).shape == (5, 3)


@pytest.mark.parametrize("size", [8, 9, 15, 64])
def test_any_picture_that_the_blocks_do_not_halve_to_nothing_will_do(size: int):
    assert SimpleCNN((3, 4, 4, 4), ("a", "b"))(torch.zeros(2, 3, size, size)).shape == (2, 2)


def test_its_parameters_have_the_names_of_the_artifacts_contract():
    block = ("conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")
    names = (*block, "norm.num_batches_tracked")
    expected = {f"features.{index}.{name}" for index in (0, 1) for name in names}
    expected |= {"classifier.weight", "classifier.bias"}
    assert set(SimpleCNN((3, 4, 8), ("a", "b")).state_dict()) == expected


def test_residual_units_add_parameters_and_keep_the_shape():
    model = SimpleCNN((3, 4, 8), ("a", "b"), depth=2)
    assert model(torch.zeros(5, 3, 16, 16)).shape == (5, 2)
    added = set(model.state_dict()) - set(SimpleCNN((3, 4, 8), ("a", "b")).state_dict())
    assert {name.split(".")[2] for name in added} == {"units"}
    assert "features.1.units.1.conv2.weight" in added


def test_residual_units_stand_behind_their_blocks_pooling():
    model = SimpleCNN((3, 4, 8), ("a", "b"), depth=1)
    sides = []
    for unit in (module for module in model.modules() if isinstance(module, ResidualUnit)):
        unit.register_forward_pre_hook(lambda _, seen: sides.append(seen[0].shape[-1]))
    model(torch.zeros(2, 3, 16, 16))
    assert sides == [8, 4]


def test_a_residual_unit_whose_last_norm_is_zero_changes_nothing():
    unit = ResidualUnit(4)
    torch.nn.init.zeros_(unit.norm2.weight)
    features = torch.rand(2, 4, 8, 8)
    assert torch.equal(unit(features), features)


def test_the_answer_depends_on_what_is_seen_and_not_on_the_rest_of_the_batch():
    torch.manual_seed(0)
    model = SimpleCNN((3, 4, 8), ("a", "b")).eval()
    pictures = torch.randn(4, 3, 16, 16)
    with torch.inference_mode():
        together, alone = model(pictures), model(pictures[2:3])
    torch.testing.assert_close(together[2:3], alone)
    assert not torch.allclose(together[0], together[1])


def test_where_in_the_picture_a_thing_is_does_not_matter():
    torch.manual_seed(0)
    model = SimpleCNN((3, 4, 8), ("a", "b")).eval()
    pictures = torch.zeros(2, 3, 64, 64)
    thing = torch.randn(3, 8, 8)
    pictures[0, :, 16:24, 16:24] = thing
    pictures[1, :, 40:48, 28:36] = thing
    with torch.inference_mode():
        here, there = model(pictures)
        nothing = model(torch.zeros(1, 3, 64, 64))[0]
    torch.testing.assert_close(here, there)
    assert not torch.allclose(here, nothing)
