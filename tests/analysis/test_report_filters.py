"""The report of a study of whole filters: its tables, verdicts and words."""

import re

import pandas as pd
import pytest

from lottery.analysis import levels
from lottery.analysis.claims import judge
from lottery.analysis.claims.filters import RESULTS, filter_claims
from lottery.analysis.report import compose, load
from lottery.analysis.report.filters import filters, short
from lottery.analysis.report.sources import Sources
from tests.analysis.filters import write_factorial_study, write_filter_study

VARIANTS = {
    "l2_hard": {},
    "random_hard": {"prune": {"criterion": "random_filters"}},
    "l2_soft": {"prune": {"during": "soft(every=1ep)"}},
    "l2_rewind": {"rewind": {"mode": "weights"}},
}
ERROR = {"l2_hard": 0.02, "random_hard": 0.05, "l2_soft": 0.03, "l2_rewind": 0.01}


def error(variant, seed, level):
    return 1 - ERROR[variant] * level * (1 + 0.01 * (seed - 1)) + 0.001 * (seed - 1)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_filter_study(
        folder,
        VARIANTS,
        lambda _v, _s, level: 1 - 0.5**level,
        error,
        branches=("ticket", "reinit"),
    )
    write_filter_study(
        folder,
        {variant: {} for variant in RESULTS},
        lambda variant, seed, _: (RESULTS[variant][1] + 0.1 * (seed - 1)) / 100,
        lambda variant, seed, level: (
            1 - ((RESULTS[variant][2] if level else 0.85) + 0.01 * (seed - 1)) / 100
        ),
        study="lim-lenet5",
        levels=1,
        shrinking=True,
    )
    return folder


def section(text, title):
    return re.split(r"\n## ", text.partition(f"\n## {title}\n")[2])[0]


def cells(text, start):
    """Cells of the table row that begins with `start`, without their links."""
    (row,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")][:1]
    return [re.sub(r"\[(.*?)\]\(#\w+\)", r"\1", cell.strip()) for cell in row.split("|")[1:-1]]


def test_each_variant_has_error_and_sizes_with_intervals_and_n(results):
    text = section(compose(load("filters", results), []), "Filters")
    row = cells(text, "l2_soft")
    assert row[:2] == ["l2_soft", "2"]
    assert row[2] == "0.00 ± 0.25"  # level 0: seeds 0.1 apart
    assert row[3:] == ["6.00 ± 0.10", "75.00 ± 0.00", "37.50 ± 0.00", "3"]


def test_differences_are_from_random_filters_removed_in_the_same_way(results):
    text = section(compose(load("filters", results), []), "Filters")
    below = text.partition("Test accuracy less that of the reference")[2]
    assert cells(below, "l2_hard")[1:3] == ["random_hard", "+3.00 ± 0.07 (p < 0.001)"]
    # Nothing soft is random: the first variant, which is l2_hard.
    assert cells(below, "l2_soft")[1:3] == ["l2_hard", "−1.00 ± 0.02 (p < 0.001)"]
    assert "| random_hard | l2_hard |" not in below


def test_of_two_seeds_the_differences_are_told_and_not_tested(tmp_path):
    write_filter_study(tmp_path, VARIANTS, lambda *_: 0.5, error, seeds=(0, 1))
    study = load("filters", tmp_path)
    assert "is not tested (n = 2)" in short(study, Sources())
    below = filters(study, Sources()).partition("Test accuracy less that of the reference")[2]
    assert "the value of each seed (n = 2: not tested)" in below
    assert cells(below, "l2_hard")[2] == "+2.97, +3.00"


def test_seeds_that_agree_to_the_last_digit_show_nothing(tmp_path):
    write_filter_study(
        tmp_path, VARIANTS, lambda *_: 0.5, lambda variant, _, level: 1 - ERROR[variant] * level
    )
    study = load("filters", tmp_path)
    assert "is not tested (all equal)" in short(study, Sources())
    assert "p <" not in filters(study, Sources())


def test_filter_tickets_are_compared_with_their_controls_where_weights_go_back(results):
    text = section(compose(load("filters", results), []), "Filters")
    assert re.findall("### Filter tickets: (.*)", text) == ["l2_rewind"]
    tickets = text.partition("### Filter tickets: l2_rewind")[2]
    assert cells(tickets, "1") == ["1", "50", "+2.00 ± 0.00"]


def test_what_is_said_of_weights_elsewhere_is_said_of_parameters(results):
    text = compose(load("filters", results), [])
    assert "Parameters left (%)" in text
    assert "eights remaining" not in text.partition("## Where every number comes from")[0]
    protocol = section(text, "Protocol")
    assert "of the filters that remain" in protocol
    assert "the output layer keeps all" in protocol
    assert "biases never" not in protocol


def test_schemes_are_of_weights_and_networks_of_all_that_goes_with_filters(results):
    text = compose(load("filters", results), [])
    header = section(text, "Initialisation schemes")
    assert re.findall("σ of `(.*?)`", header) == ["conv1", "conv2", "fc1", "fc2"]
    assert "prunable parameters" in section(text, "Networks")


def test_a_study_of_single_weights_has_no_such_section(results, tmp_path):
    table = levels("filters", results).drop(columns=["parameters", "macs"])
    write_filter_study(tmp_path, VARIANTS, lambda *_: 0.5, lambda *_: 0.9)
    table.to_csv(tmp_path / "filters" / "levels.csv", index=False)
    text = compose(load("filters", tmp_path), [])
    assert "\n## Filters\n" not in text
    assert "Weights remaining (%)" in text


def test_published_reductions_and_errors_are_put_to_the_variants_of_their_names(results):
    found = judge(levels("lim-lenet5", results))
    assert [verdict.claim.id for verdict in found] == [claim.id for claim in filter_claims()]
    assert {verdict.verdict for verdict in found} == {"reproduced"}
    by_id = {verdict.claim.id: verdict for verdict in found}
    assert by_id["lim-input-reduction"].interval.mean == pytest.approx(87.6, abs=1e-3)
    assert by_id["lim-input-reduction"].interval.n == 3
    assert by_id["lim-relative-error"].interval.mean == pytest.approx(0.96)
    assert by_id["lim-unpruned"].interval.mean == pytest.approx(0.85)


def test_other_results_are_not_reproduced(results):
    table = levels("lim-lenet5", results)
    table["test_accuracy"] -= 0.01
    table.loc[table["level"] == 1, "parameters"] *= 2
    found = judge(table)
    by_id = {verdict.claim.id: verdict.verdict for verdict in found}
    assert by_id.pop("lim-layer-above-1") == "reproduced"
    assert set(by_id.values()) == {"not reproduced"}


def test_studies_without_these_variants_are_not_asked(results):
    assert judge(levels("filters", results)) == []


def test_published_figures_on_cifar_stand_beside_ours_without_a_verdict(tmp_path):
    folder = write_filter_study(
        tmp_path,
        VARIANTS,
        lambda _v, _s, level: 1 - 0.5**level,
        lambda variant, _, level: 0.9 - ERROR[variant] * level,
        model="resnet20",
    )
    path = folder / "study.yaml"
    assert "SFP" not in compose(load("filters", tmp_path), [])  # on MNIST there is none
    path.write_text(path.read_text().replace("data: mnist", "data: cifar10"))
    text = section(compose(load("filters", tmp_path), []), "Filters")
    (row,) = [line for line in text.splitlines() if "SFP" in line]
    assert "93.59 → 93.36" in row
    assert "`l2_soft`, resnet20, n = 3 | 2 | 37.5 | 90.00 | −6.00 ± 0.00" in row
    assert "C-SGD" not in text


def test_the_short_answer_is_about_filters_and_names_what_is_shown_to_differ(results):
    """Not that one scheme cannot tell schemes apart, or that there are no diagnostics."""
    told = section(compose(load("filters", results), []), "Question and short answer")
    assert told.strip().startswith("**Which filters can a network do without")
    assert "cannot say" not in told and "Why?" not in told
    assert "`l2_hard` at level 1 ([+3.00 ± 0.07]" in told
    below = told.partition("below 0 in")[2]
    assert "`l2_soft`" in below and "random_hard" not in below


def test_what_the_procedure_of_a_later_variant_records_explains_nothing(tmp_path):
    variants = {"l2_hard": {}, "csgd": {"prune": {"during": "centripetal"}}}
    write_filter_study(tmp_path, variants, lambda _v, _s, level: 0.2 * level, lambda *_: 0.9)
    rows = levels("filters", tmp_path).query("variant == 'csgd'").assign(layer="all", value=1e-9)
    rows = rows.assign(quantity="cluster_spread")
    rows.to_parquet(tmp_path / "filters" / "diagnostics.parquet")
    text = compose(load("filters", tmp_path), [])
    assert section(text, "Filters") and "\n## Why\n" not in text


def test_the_full_network_is_run_by_a_command_that_filters_have(tmp_path):
    """There is no shipped study `lenet5`, which the full network is called."""
    write_filter_study(tmp_path, {"l2_hard": {}}, lambda _v, _s, level: 0.2 * level, lambda *_: 0.9)
    path = tmp_path / "filters" / "levels.csv"
    table = pd.read_csv(path, dtype=str)
    table["model"] = "lenet5(width=0.5)"
    table.to_csv(path, index=False)
    told = section(compose(load("filters", tmp_path), []), "Limits")
    flags = "--model lenet5 --name filters-full --device cuda"
    assert f"run_filters.py results/filters/study.yaml {flags}`" in told


def test_the_influence_of_settings_is_a_table(tmp_path):
    write_factorial_study(tmp_path, lambda v, *_: 0.9 + 0.01 * (int(v[3:]) % 3))
    text = section(compose(load("filters", tmp_path), []), "Influence of the settings")
    assert "P from 0.1 to 0.2" in text
    assert "the epochs of a level" in text and "the epochs between two" in text
    assert "n = 18, of one seed" in text
    assert cells(text, "E")[1] == "+1.00"
    assert cells(text, "P")[3] == "+10.00"
    short = section(compose(load("filters", tmp_path), []), "Question and short answer")
    assert "Does it matter which filters go" not in short
    assert "Test accuracy (91.00 % where all are in the middle) grows with the length" in short
    assert "is not shown to change with the interval I (0.00; " in short
    assert "grows with the threshold P (+10.00; " in short
