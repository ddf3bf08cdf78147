"""Figures of a study whose tickets follow several variants of its protocol."""

import numpy as np
import pandas as pd
import pytest
import yaml

from lottery.analysis import figures as f
from lottery.analysis import frames, mean_interval
from lottery.errors import ConfigError, StoreError
from tests.analysis.synthetic import write_study


@pytest.fixture
def results(tmp_path):
    """Variants zero (the reference) and better, by one point in each cell and then some noise."""
    folder = write_study(tmp_path, "compared", levels=3)
    write_study(tmp_path, "other", levels=3, inits=["kaiming_normal"])
    for name in ("levels.csv", "curves.parquet", "layers.parquet"):
        read = pd.read_csv if name.endswith("csv") else pd.read_parquet
        one, two = read(folder / name), read(tmp_path / "other" / name)
        if name == "levels.csv":
            base = one[one["init"] == "kaiming_normal"].reset_index(drop=True)
            two["test_accuracy"] = base["test_accuracy"] + 0.01 + 0.001 * two["seed"]
        both = pd.concat(
            [one.assign(variant="zero"), two.assign(variant="better", study="compared")]
        )
        both.to_csv(folder / name, index=False) if name.endswith("csv") else both.to_parquet(
            folder / name
        )
    variants = {"zero": {}, "better": {"train": {"lr": 1.0}}}
    (folder / "study.yaml").write_text(yaml.safe_dump({"variants": variants}, sort_keys=False))
    return tmp_path


def test_the_reference_is_the_variant_that_the_study_names_first(results):
    assert frames.variants("compared", results) == ["zero", "better"]
    (results / "compared" / "study.yaml").unlink()
    assert frames.variants("compared", results) == ["better", "zero"]
    (results / "compared" / "study.yaml").write_text("[")
    with pytest.raises(StoreError, match=r"study\.yaml cannot be read"):
        frames.variants("compared", results)


def test_a_study_without_variants_has_one(results):
    assert frames.variants("other", results) == ["base"]


def test_variants_are_not_averaged_over_by_mistake(results):
    with pytest.raises(ConfigError, match="variant of the table is 'better, zero'; allowed: one"):
        f.accuracy_by_weights(frames.levels("compared", results))


def test_differences_are_paired_by_seed_over_the_schemes_that_both_have(results):
    table = frames.levels("compared", results)
    ax = f.variant_differences(table, ["zero", "better"]).axes[0]
    (drawn,) = [line for line in ax.get_lines() if line.get_label() == "better"]
    expected = mean_interval([1.0, 1.1, 1.2])
    np.testing.assert_allclose(drawn.get_ydata(), expected.mean)
    bars = ax.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose(
        [bar[:, 1] for bar in bars], [[expected.low, expected.high]] * 4, rtol=1e-6
    )


def test_each_variant_has_a_panel_with_the_schemes_it_has(results):
    table = frames.levels("compared", results)
    figure = f.accuracy_by_variant(table, ["zero", "better"])
    labels = [[line.get_label() for line in ax.get_lines()] for ax in figure.axes]
    schemes = [[name for name in of if not name.startswith("_")] for of in labels]
    assert schemes == [["Kaiming normal", "Xavier uniform"], ["Kaiming normal"]]
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["zero", "better (1 scheme)"]


def test_the_place_of_a_missing_panel_holds_the_legend(results):
    table = frames.levels("compared", results)
    third = table[table["variant"] == "zero"].assign(variant="third")
    figure = f.accuracy_by_variant(pd.concat([table, third]), ["zero", "better", "third"])
    assert not figure.legends
    *panels, place = figure.axes
    assert len(panels) == 3
    texts = [text.get_text() for text in place.get_legend().get_texts()]
    assert texts == ["Kaiming normal", "Xavier uniform"]
    assert not place.axison


def test_the_axis_of_differences_says_its_scale_and_has_a_true_minus(results):
    table = frames.levels("compared", results)
    better = (table["variant"] == "better") & (table["level"] > 1)
    table.loc[better, "test_accuracy"] -= 0.1
    figure = f.variant_differences(table, ["zero", "better"])
    ax = figure.axes[0]
    assert "symmetric-log" in ax.get_ylabel()
    assert "linear within ±0.5" in " ".join(figure.get_suptitle().split())
    figure.draw_without_rendering()
    texts = [tick.get_text() for tick in ax.get_yticklabels()]
    assert {"+0.1", "−0.1", "−5", "0"} <= set(texts)
    assert not [text for text in texts if "-" in text]


def test_the_figures_of_such_a_study_compare_its_variants(results, tmp_path):
    written = f.render("compared", results, tmp_path / "plots")
    compared = {"accuracy_by_variant", "variant_differences", "scheme_by_method"}
    assert {path.stem for path in written} == compared
