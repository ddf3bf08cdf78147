import dataclasses

import pytest
import torch

from lottery.objectives import Metrics
from lottery.pruning.masks import Masks
from lottery.study.records import curve_rows, layer_rows, level_row
from lottery.tickets.level import Level
from lottery.training.level import Evaluation


def level(masks, initial=None, trained=None, kinds=None):
    """Three evaluations, the second and third with the same least validation loss."""
    initial = initial or {name: torch.randn(mask.shape) for name, mask in masks.items()}
    trained = trained or {name: torch.randn(mask.shape) * mask for name, mask in masks.items()}
    return Level(
        level=3,
        masks=Masks(masks),
        kinds=kinds or dict.fromkeys(masks, "linear"),
        initial=initial,
        trained=trained,
        evaluations=[
            Evaluation(15, 0.9, 0.1, 0.8, 0.2, 0.7, 0.3),
            Evaluation(20, 0.6, 0.4, 0.5, 0.51, 0.4, 0.62),
            Evaluation(25, 0.3, 0.7, 0.5, 0.8, 0.1, 0.9),
        ],
        train=Metrics(0.01, 0.91),
        val=Metrics(0.02, 0.92),
        test=Metrics(0.03, 0.93),
        first_step=10,
        seconds=1.23456,
        engine="reference",
        device="cpu",
    )


@pytest.fixture
def masks():
    stream = torch.Generator().manual_seed(0)
    return {
        "fc1.weight": torch.rand((5, 16), generator=stream) < 0.4,
        "fc2.weight": torch.rand((3, 5), generator=stream) < 0.7,
    }


def test_a_level_is_told_with_every_number_in_its_own_column(masks):
    remaining = sum(int(mask.sum()) for mask in masks.values()) / 95
    assert level_row(level(masks)) == {
        "level": 3,
        "weights_remaining": remaining,
        "test_accuracy": 0.93,
        "val_accuracy": 0.92,
        "train_accuracy": 0.91,
        "test_loss": 0.03,
        "val_loss": 0.02,
        "train_loss": 0.01,
        "early_stop_step": 20,
        "test_accuracy_at_early_stop": 0.62,
        "val_accuracy_at_early_stop": 0.51,
        "steps": 15,
        "seconds": 1.235,
        "engine": "reference",
        "device": "cpu",
    }


def test_a_curve_has_a_row_per_evaluation(masks):
    rows = curve_rows(level(masks))
    assert [row["step"] for row in rows] == [15, 20, 25]
    assert {row["weights_remaining"] for row in rows} == {level(masks).weights_remaining}
    assert rows[0]["train_accuracy"] == 0.1
    assert set(rows[0]) == {
        "level",
        "weights_remaining",
        *(field.name for field in dataclasses.fields(Evaluation)),
    }


def test_histograms_count_kept_weights_and_nothing_else(masks):
    for row in layer_rows(level(masks)):
        kept = int(masks[row["layer"]].sum())
        assert len(row["initial_histogram"]) == len(row["final_histogram"]) == 64
        assert sum(row["initial_histogram"]) == sum(row["final_histogram"]) == kept
        assert row["remaining"] == kept
        assert row["weights"] == masks[row["layer"]].numel()


def test_histograms_are_of_the_values_at_initialisation_and_after_training():
    mask = torch.tensor([[True, True, True, False]])
    initial, trained = torch.tensor([[-1.0, 0.99, 0.01, 9.0]]), torch.tensor([[-2.0, 2, 1.01, 0]])
    (row,) = layer_rows(level({"w": mask}, {"w": initial}, {"w": trained}))
    assert row["span"] == 2.0, "a pruned weight's value counts"
    assert [i for i, n in enumerate(row["initial_histogram"]) if n] == [16, 32, 47]
    assert [i for i, n in enumerate(row["final_histogram"]) if n] == [0, 48, 63]


def test_a_first_linear_layer_tells_kept_weights_of_each_input(masks):
    first, second = layer_rows(level(masks))
    assert first["kept_inputs"] == masks["fc1.weight"].sum(dim=0).tolist()
    assert len(first["kept_inputs"]) == 16
    assert first["outputs"] == 5
    assert second["kept_inputs"] is None
    assert second["outputs"] == 3


def test_outputs_are_kept_that_keep_any_weight():
    weight = torch.tensor([[True, False], [False, False], [True, True]])
    masks = {"0.weight": weight, "0.bias": weight[:, 1]}
    rows = layer_rows(level(masks, kinds=dict.fromkeys(masks, "linear")))
    assert [row["kept_outputs"] for row in rows] == [2, 1]


def test_a_first_convolution_has_no_inputs_to_tell_of():
    masks = {"conv.weight": torch.ones((4, 1, 3, 3), dtype=torch.bool)}
    (row,) = layer_rows(level(masks, kinds={"conv.weight": "conv"}))
    assert row["kept_inputs"] is None
    assert (row["kind"], row["outputs"]) == ("conv", 4)


@pytest.mark.parametrize("kept", [True, False])
def test_a_layer_of_zeros_or_of_nothing_has_a_histogram_too(kept):
    masks = {"w": torch.full((2, 3), kept)}
    (row,) = layer_rows(level(masks, {"w": torch.zeros(2, 3)}, {"w": torch.zeros(2, 3)}))
    assert row["span"] == 0.0
    assert sum(row["initial_histogram"]) == sum(row["final_histogram"]) == 6 * kept
    assert len(row["initial_histogram"]) == 64
