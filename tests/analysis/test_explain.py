"""An explanation that was planted is found; one that was not is not."""

import numpy as np
import pandas as pd
import pytest

from lottery.analysis.explain import COLUMNS, conclusion, explain, strongest
from lottery.errors import ConfigError

INITS = ("kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform")
SEEDS = range(5)
DENSITIES = (1.0, 0.3, 0.1, 0.0353, 0.019)


def cells(inits=INITS, seeds=SEEDS):
    for init in inits:
        for seed in seeds:
            yield {
                "study": "planted",
                "cell": f"{init}-s{seed}",
                "variant": "base",
                "init": init,
                "seed": seed,
                "branch": "ticket",
                "draw": 0,
            }


def strength(seed=0):
    """Of each cell: the value that decides robustness, of schemes and of single cells."""
    chance = np.random.default_rng(seed)
    schemes = dict(zip(INITS, chance.normal(size=len(INITS)), strict=True))
    return {cell["cell"]: schemes[cell["init"]] + chance.normal() for cell in cells()}


def levels_of(effect, noise=0.0002):
    """Accuracy falls with density, the less so the stronger a cell."""
    chance = np.random.default_rng(1)
    return pd.DataFrame(
        cell
        | {
            "model": "lenet_300_100",
            "level": level,
            "weights_remaining": density,
            "test_accuracy": 0.98
            + (0.002 * effect[cell["cell"]] - 0.01) * level / 4
            + noise * chance.normal(),
        }
        for cell in cells()
        for level, density in enumerate(DENSITIES)
    )


def diagnostics_of(**quantities):
    """quantities: value of each cell; a number per cell, or a function of cell and level."""
    rows = []
    for cell in cells():
        for level, density in enumerate(DENSITIES):
            for quantity, values in quantities.items():
                value = values(cell, level) if callable(values) else values[cell["cell"]]
                place = {"level": level, "weights_remaining": density, "layer": "all"}
                rows.append(cell | place | {"quantity": quantity, "value": value})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def planted():
    """init_memory decides robustness; the others are chance, constant or a matter of level."""
    effect = strength()
    chance = np.random.default_rng(7)
    others = {f"chance_{k}": {c["cell"]: chance.normal() for c in cells()} for k in range(10)}
    table = diagnostics_of(
        init_memory={cell: -3 * value for cell, value in effect.items()},
        effective_density=lambda cell, level: DENSITIES[level],
        sign_flips=lambda cell, level: 0.1,
        **others,
    )
    return explain(levels_of(effect), table)


def test_an_explanation_that_was_planted_is_found(planted):
    assert list(planted) == COLUMNS
    found = planted[planted["verdict"] == "explains"]
    assert set(found["quantity"]) == {"init_memory"}
    assert set(found["endpoint"]) == {"area", "accuracy at 3.53 %", "accuracy at 1.9 %"}
    assert (found["rho"] < -0.9).all()
    assert ((found["low"] <= found["rho"]) & (found["rho"] <= found["high"])).all()
    assert (found["r2"] > 0.8).all()
    assert (found["holm_p"] >= found["p"]).all()
    assert conclusion(planted).startswith("1 of 13 diagnostics explains robustness (4 schemes × 5")
    named = strongest(planted)
    assert list(named) == ["area", "accuracy at 3.53 %", "accuracy at 1.9 %"]
    assert all(len(texts) == 1 for texts in named.values())
    assert named["area"][0].startswith("init memory, ρ = −0.9")


def test_the_strongest_explanations_come_first_and_the_others_are_counted(planted):
    rows = planted[planted["verdict"] == "explains"].iloc[[0] * 5]
    rows = rows.assign(quantity=list("abcde"), rho=[0.8, -0.95, 0.7, 0.9, -0.75])
    rows = rows.reset_index(drop=True)
    assert [text[0] for text in strongest(rows)["area"]] == ["b", "d", "a", "2"]


def test_what_goes_along_without_explaining_is_said():
    table = explain(levels_of(strength()), diagnostics_of(init_memory=strength()))
    text = conclusion(table.assign(verdict="goes along"))
    assert "None of 1 diagnostics is shown to explain robustness" in text
    assert "Of these 1 goes along with it." in text


def test_what_was_not_planted_is_not_found():
    chance = np.random.default_rng(3)
    others = {f"chance_{k}": {c["cell"]: chance.normal() for c in cells()} for k in range(12)}
    table = explain(levels_of(strength()), diagnostics_of(**others))
    assert set(table["verdict"]) == {"not shown"}
    assert conclusion(table).startswith("None of 12 diagnostics is shown to explain robustness")


def test_schemes_that_differ_by_chance_alone_do_not_explain():
    """Every cell of a scheme alike: as many cells as one likes are four observations."""
    order = {cell["cell"]: float(INITS.index(cell["init"])) for cell in cells()}
    chance = np.random.default_rng(4)
    near = {name: value + 0.01 * chance.normal() for name, value in order.items()}
    table = explain(levels_of(order), diagnostics_of(gradient_norm=near))
    assert table["between"].tolist() == pytest.approx([1, 1, 1])
    assert (table["share_between"] > 0.9).all()
    assert (table["p"] > 0.02).all()
    assert set(table["verdict"]) == {"not shown"}


def test_an_area_is_held_against_the_mean_over_pruned_levels_and_a_level_against_itself():
    effect = strength()
    # At level 0 it is another quantity, and at level 4 the opposite of what it is on average.
    table = explain(
        levels_of(effect),
        diagnostics_of(
            relative_travel=lambda cell, level: (
                1000.0 * (hash(cell["cell"]) % 7)
                if level == 0
                else (-1 if level == 4 else 2) * effect[cell["cell"]]
            )
        ),
    ).set_index("endpoint")
    assert table.loc["area", "over"] == "mean of levels 1 to 4"
    assert table.loc["area", "rho"] > 0.9
    assert table.loc["accuracy at 1.9 %", "over"] == "level 4"
    assert table.loc["accuracy at 1.9 %", "rho"] < -0.9


def test_constant_quantities_say_so(planted):
    rows = planted[planted["quantity"] == "sign_flips"]
    assert set(rows["verdict"]) == {"constant"}
    assert rows["p"].isna().all()


def test_the_share_of_kept_weights_on_a_path_stands_for_effective_density(planted):
    assert "effective_share" in set(planted["quantity"])
    assert "effective_density" not in set(planted["quantity"])


def test_barriers_of_a_retraining_belong_to_its_ticket():
    effect = strength()
    tickets = diagnostics_of(init_memory={cell["cell"]: 0.0 for cell in cells()})
    rows = []
    for cell in cells():
        for level in (2, 4):
            for draw, apart in enumerate((-5.0, 5.0)):
                rows.append(
                    cell
                    | {"cell": f"{cell['cell']}-retrain-{draw}", "branch": "retrain", "draw": draw}
                    | {"level": level, "weights_remaining": DENSITIES[level], "layer": "all"}
                    | {"quantity": "loss_barrier_test", "value": effect[cell["cell"]] + apart}
                )
    own = [row | {"quantity": "gradient_norm"} for row in rows]  # not the ticket's
    table = explain(levels_of(effect), pd.concat([tickets, pd.DataFrame(rows + own)]))
    assert "gradient_norm" not in set(table["quantity"])
    found = table[table["quantity"] == "loss_barrier_test"].set_index("endpoint")
    assert found.loc["area", "over"] == "mean of levels 2, 4"
    assert (found["n"] == 20).all()
    assert (found["rho"] > 0.9).all()
    assert "accuracy at 3.53 %" not in found.index


def test_quantities_of_layers_alone_count_by_their_mean():
    effect = strength()
    table = diagnostics_of(activation_variance=effect)
    parts = [
        table.assign(layer=layer, value=table["value"] + k) for layer, k in (("a", 9), ("b", 0))
    ]
    found = explain(levels_of(effect), pd.concat(parts))
    assert (found["rho"] > 0.9).all()
    assert (found["n"] == 20).all()


def test_seeds_that_lack_a_scheme_and_unknown_values_are_left_out():
    effect = strength()
    table = diagnostics_of(init_memory=effect)
    lost = (table["seed"] == 1) & (table["init"] == INITS[0])
    found = explain(levels_of(effect), table[~lost])
    assert set(found["n"]) == {16}
    assert set(found["seeds"]) == {4}
    found = explain(levels_of(effect), table[~(lost & (table["level"] == 2))])
    assert found.set_index("endpoint")["n"].to_dict() == {
        "area": 16,  # of which it lacks a level, and with it the mean
        "accuracy at 3.53 %": 20,
        "accuracy at 1.9 %": 20,
    }
    unknown = table.assign(value=table["value"].where(table["init"] != INITS[2]))
    found = explain(levels_of(effect), unknown)
    assert set(found["schemes"]) == {3}


def test_studies_without_low_densities_have_the_area_alone():
    effect = strength()
    levels, table = levels_of(effect), diagnostics_of(init_memory=effect)
    few = explain(levels[levels["level"] < 3], table[table["level"] < 3])
    assert few["endpoint"].tolist() == ["area"]


def test_variants_are_not_mixed():
    effect = strength()
    levels = pd.concat([levels_of(effect), levels_of(effect).assign(variant="relu")])
    with pytest.raises(ConfigError, match=r"variant of levels is 'base, relu'"):
        explain(levels, diagnostics_of(init_memory=effect))


def test_a_grid_that_cannot_show_anything_says_so():
    effect = strength()
    levels, table = levels_of(effect), diagnostics_of(init_memory=effect)
    few = explain(levels[levels["seed"] < 2], table[table["seed"] < 2])
    assert "cannot show any: the least corrected p is 0.062" in conclusion(few)
    assert "cannot show any" not in conclusion(
        explain(levels, diagnostics_of(chance={c["cell"]: c["seed"] % 2 for c in cells()}))
    )


def test_nothing_recorded_is_no_explanation():
    effect = strength()
    table = diagnostics_of(init_memory=effect)
    assert conclusion(explain(levels_of(effect), table[table["level"] == 0])).startswith("No ")
