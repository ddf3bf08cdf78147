"""The report of a study of detectors: answers, their numbers and where these come from."""

import json
import re
import shutil

import pandas as pd
import pytest

from lottery.analysis.report import compose, load
from tests.analysis.detectors import add_baseline, write_detector_study
from tests.analysis.test_report_filters import cells, section

VARIANTS = {
    "l2_hard": {},
    "random_hard": {"prune": {"criterion": "random_filters"}},
    "l2_soft": {"prune": {"iterative": False, "during": "soft(every=2ep)"}},
    "l2_oneshot": {"prune": {"iterative": False}},
}
REMOVED = {"l2_hard": 0.4, "random_hard": 0.2, "l2_soft": 0.3, "l2_oneshot": 0.25}
LAST = {"l2_hard": 4, "random_hard": 1, "l2_soft": 2, "l2_oneshot": 2}
"""The last level before AP falls by more than two points; a walk ends at the next."""
LENGTHS = {(variant, seed): last + 1 for variant, last in LAST.items() for seed in range(3)}


def removed(variant, seed, level):
    return 1 - (1 - REMOVED[variant] - 0.01 * seed) ** level


def ap(variant, seed, level):
    return 0.8 + 0.01 * seed - 0.0025 * level - 0.03 * (level > LAST[variant])


def busy(variant, seed, level):
    """Others were at work while level 4 of two tickets was timed, and level 1 of a third's."""
    loads = {("l2_hard", 0, 4): 1.2, ("l2_hard", 1, 4): 0.7, ("l2_soft", 0, 1): 1.5}
    return loads.get((variant, seed, level), 0.1)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write_detector_study(
        folder,
        VARIANTS,
        removed,
        ap,
        data="digit_scenes(size=160)",
        busy=busy,
        levels=5,
        lengths=LENGTHS,
    )
    write_detector_study(
        folder,
        VARIANTS,
        lambda variant, seed, level: 1 - (1 - removed(variant, seed, level)) / 2 * (level > 0),
        lambda _, seed, level: 0.8 + 0.01 * seed - 0.0025 * level,
        study="one",
        classes=["5"],
        data="digit_scenes(size=160, classes=one)",
        levels=5,
    )
    write_detector_study(folder, VARIANTS, removed, ap, study="cells", data="voc(BCCD)")
    return folder


@pytest.fixture(scope="module")
def text(results):
    rivals = [load(name, results) for name in ("one", "cells")]
    return compose(load("detectors", results), [], rivals=rivals)


def answer(text, question):
    (line,) = [row for row in text.splitlines() if row.startswith(f"| {question}")]
    return re.sub(r"\[(.*?)\]\(#\w+\)", r"\1", line)


def test_each_variant_is_judged_at_the_last_level_before_it_falls(text):
    own = section(text, "Detector")
    soft, chance = cells(own, "l2_soft"), cells(own, "random_hard")
    assert soft[1] == "2"
    assert chance[1] == "1"
    assert chance[2] == "21.0 ± 2.5"  # 20, 21 and 22 %
    assert soft[2] == "52.4 ± 3.4"  # 51, 52.39 and 53.76 %
    assert soft[9] == "−0.5 ± 0.0"
    assert soft[12:] == ["0 of 3", "3"]
    assert cells(own, "l2_hard")[1] == "4"


def test_the_class_that_lost_most_is_told_beside_the_mean(results, tmp_path):
    shutil.copytree(results / "detectors", tmp_path / "detectors")
    file = tmp_path / "detectors" / "detectors.csv"
    table = pd.read_csv(file, dtype={"class": str})
    table.loc[(table["class"] == "1") & (table["level"] == 2), "ap_area"] -= 0.1
    table.to_csv(file, index=False)
    own = section(compose(load("detectors", tmp_path), []), "Detector")
    assert cells(own, "l2_soft")[9:11] == ["−0.5 ± 0.0", "−10.5 ± 0.0"]
    one = section(compose(load("one", results), []), "Detector")
    assert "Worst class" in own and "Worst class" not in one


def test_that_a_detector_which_finds_nothing_cannot_lose_is_said(results, tmp_path):
    write_detector_study(tmp_path, {"l2_hard": {}}, removed, lambda *_: 0.015)
    said = "A mean AP of no more than 2 points cannot fall by more than 2 points"
    assert said in compose(load("detectors", tmp_path), [])
    assert said not in compose(load("detectors", results), [])


def test_what_pruned_networks_were_trained_for_is_told(text):
    """100 steps a level: four levels hard, one of them with random filters, one from unpruned."""
    own = section(text, "Detector")
    steps = {"l2_hard": "400", "random_hard": "100", "l2_soft": "100", "l2_oneshot": "100"}
    assert {variant: cells(own, variant)[7] for variant in steps} == {
        variant: f"{count} ± 0" for variant, count in steps.items()
    }


def test_what_training_alone_adds_is_taken_from_what_pruning_changes(results, text, tmp_path):
    """The baseline gains 0.2 points a level: 4 levels beside hard pruning, one beside one-shot."""
    assert "Less trained on" not in text and "No detector was trained on" in text
    shutil.copytree(results / "detectors", tmp_path / "detectors")
    add_baseline(tmp_path / "detectors", "l2_hard", 0.002)
    own = section(whole := compose(load("detectors", tmp_path), []), "Detector")
    assert "No detector was trained on" not in own and "| Less trained on (pp) |" in own
    for variant, change, less in (("l2_hard", "−1.0", "−1.8"), ("l2_oneshot", "−0.5", "−0.7")):
        assert cells(own, variant)[9:12:2] == [f"{change} ± 0.0", f"{less} ± 0.0"]
    assert "Computed as 54 levels by" in whole, "39 of tickets, and 15 of the baseline once"


def test_walks_of_unequal_length_are_judged_beside_the_unpruned_trained_on(results, tmp_path):
    """It gains 0.5 points a level and hard pruning loses 0.25: level 2 is 1.5 points below it.

    One-shot pruning had one level's training, and is 1 point below it at level 2, the last but one.
    """
    shutil.copytree(results / "detectors", tmp_path / "detectors")
    add_baseline(tmp_path / "detectors", "l2_hard", 0.005)
    text = compose(load("detectors", tmp_path), [])
    own = section(text, "Detector")
    assert "| Removed beside it (%) |" in own
    assert cells(own, "l2_hard")[2] == "87.9 ± 2.0"  # at level 4
    assert cells(own, "l2_hard")[12] == "65.2 ± 2.9"  # 64, 65.19 and 66.36 %, at level 2
    assert cells(own, "l2_oneshot")[12] == cells(own, "l2_oneshot")[2]
    far = answer(text, "How far before")
    within = "Within 2 points of the unpruned network trained on for as many steps"
    assert f"{within}, furthest goes `l2_hard`: 65.2 ± 2.9 % of parameters." in far
    suit = answer(text, "Which filter criteria suit?")
    assert f"{within}: hard: l2 65.2 ± 2.9 %, random" in suit


def test_a_walk_that_ended_above_the_trained_on_network_is_a_lower_bound(results, tmp_path):
    """Training on loses 2 points a level, so no ticket is 2 points below it anywhere."""
    shutil.copytree(results / "detectors", tmp_path / "detectors")
    add_baseline(tmp_path / "detectors", "l2_hard", -0.02)
    text = compose(load("detectors", tmp_path), [])
    assert "tickets ended before reaching it, and might have gone further" in text
    assert "of 12 tickets never fell so far: theirs is a lower bound." in answer(text, "How far")


def test_the_furthest_level_is_that_of_a_ticket_and_not_of_the_baseline(results, tmp_path):
    shutil.copytree(results / "detectors", tmp_path / "detectors")
    add_baseline(tmp_path / "detectors", "l2_hard", 0.002)
    levels = pd.read_csv(tmp_path / "detectors" / "levels.csv")
    short = levels[(levels["branch"] == "dense") | (levels["level"] < 5)]
    short.to_csv(tmp_path / "detectors" / "levels.csv", index=False)
    text = compose(load("detectors", tmp_path), [])
    assert "0 (unpruned) to 4 where a ticket goes furthest" in text


def test_variants_that_are_equally_large_are_all_named(tmp_path):
    """As they are where every layer loses an equal share, and walks end at one level."""
    both = {"l2_hard": {}, "taylor_hard": {"prune": {"criterion": "taylor"}}, "l2_oneshot": {}}
    shares = {"l2_hard": 0.4, "taylor_hard": 0.4, "l2_oneshot": 0.2}
    write_detector_study(
        tmp_path,
        both | {"l2_oneshot": {"prune": {"iterative": False}}},
        lambda variant, _, level: 1 - (1 - shares[variant]) ** level,
        lambda _v, _s, level: 0.8 - 0.001 * level,
    )
    own = compose(load("detectors", tmp_path), [])
    assert "Most parameters saved: `l2_hard` and `taylor_hard`, " in answer(own, "Which save mem")
    far = answer(own, "How far before")
    assert "| Furthest go `l2_hard` and `taylor_hard`: " in far
    assert "By l2 alone, by way: hard: " in far and "oneshot: " in far


def test_soft_pruning_is_compared_with_hard_that_is_trained_as_long(text):
    """51, 52.39 and 53.76 % are gone, less 43.75, 45.24 and 46.71 %."""
    far = answer(text, "How far before")
    assert "With one round from the unpruned network each, soft less one-shot hard" in far
    assert "in points of parameters removed: l2 +7.2 ± 0.2." in far


def test_ap_before_retraining_is_told_or_why_there_is_none(text):
    own = section(text, "Detector")
    assert cells(own, "l2_hard")[8] == "40.0 ± 1.2"  # half of 79, 80 and 81 %
    assert cells(own, "random_hard")[8] == "40.4 ± 1.2"
    assert cells(own, "l2_soft")[8] == "–"
    assert "`l2_soft`: none, as filters are zeroed" in own


def test_times_that_others_spoilt_are_named(text):
    """Of soft pruning another level is judged, and of unpruned networks none was disturbed."""
    spoilt = re.findall(r"Other processes kept.*?doubtful, of [^.]*\.", section(text, "Detector"))
    assert spoilt == [
        "Other processes kept more than 0.5 cores busy (at most 1.2) while times were taken, which "
        "are doubtful, of `l2_hard` (2 of 3)."
    ]


def test_savings_of_operations_are_geometric_means(text):
    own = cells(section(text, "Detector"), "random_hard")
    # MACs fall by 10, 10.5 and 11 %.
    assert own[4] == "10.5 ± 1.2"
    assert own[5].startswith("1.12× (1.10 to 1.13)")
    assert own[6].startswith("1.12× (1.10 to 1.13)")


def test_the_research_questions_are_answered_from_the_table(text):
    suit = answer(text, "Which filter criteria suit?")
    hard, soft = "l2 87.9 ± 2.0 %, random 21.0 ± 2.5 %", "l2 52.4 ± 3.4 %"
    assert f"hard, after 250 ± 0 steps: {hard}; soft, after 100 ± 0 steps: {soft}; oneshot" in suit
    assert "Steps are those since the unpruned network; ways that had more are favoured." in suit
    assert "More than random filters removed in the same way (Holm): `l2_hard`." in suit
    assert "Most parameters saved: `l2_hard`, 87.9 ± 2.0 %" in answer(text, "Which save memory?")
    operations = answer(text, "Which save operations?")
    assert "Most MACs saved: `l2_hard`, 43.9 ± 1.0 % (more than every other variant)" in operations
    assert "Most latency saved: `l2_hard`" in operations
    far = answer(text, "How far before")
    assert "Furthest goes `l2_hard`: 87.9 ± 2.0 % of parameters" in far
    assert "never fell" not in far


def test_one_class_is_compared_with_several_on_the_same_data_only(text):
    found = answer(text, "Does a constrained task")
    assert "With one class of the same data (`one`)" in found
    assert "with 3 classes (`detectors`)" in found
    assert "3 common variants" in found, "those of random filters are none"
    assert "9 of 9 tickets with one class never fell" in found
    assert "is **reproduced**" in found
    assert "349" not in found  # which nobody has checked
    assert "cells" not in found


def test_a_task_that_is_not_constrained_has_no_such_row(results):
    alone = compose(load("detectors", results), [])
    assert "constrained task" not in alone


def test_numbers_lead_to_rows_of_the_table_of_detectors(text):
    (link,) = re.findall(r"\| l2_soft \| 2 \| \[52\.4 ± 3\.4\]\(#(e\d+)\)", text)
    (entry,) = re.findall(rf'<a id="{link}"></a>.*', text)
    assert "`parameters_removed` of `detectors.csv` where variant = l2_soft" in entry


def test_the_protocol_is_that_of_detectors(text):
    protocol = section(text, "Protocol")
    assert "that of the study `detectors-unpruned`" in protocol
    assert "classes 0, 1 and 2" in protocol
    assert "mean AP lies more than 2 points below" in protocol
    assert "weights are kept, the schedule of the learning rate goes back to" in protocol


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (("train", "val", "test"), "; validation images are those of the data set, the same for "),
        (("train", "test"), "; 5,000 training images held out for validation, without regard to"),
    ],
)
def test_validation_pictures_are_those_of_the_data_set_only_where_it_has_some(
    tmp_path, parts, told
):
    folder = write_detector_study(tmp_path, VARIANTS, removed, ap)
    hashes = {f"{part}_{kind}": "0" for part in parts for kind in ("images", "labels")}
    (folder / "manifest.json").write_text(json.dumps({"runs": [{"data_sha256": hashes}]}))
    protocol = section(compose(load("detectors", tmp_path), []), "Protocol")
    assert told in protocol
    assert ("held out" in protocol) != ("those of the data set" in protocol)


def test_without_a_manifest_it_is_not_told_whose_validation_pictures_these_are(text):
    told = "those of the data set, the same for every seed, or, if it has none, 5,000 training"
    assert told in section(text, "Protocol")


def test_nothing_is_called_accuracy_but_columns(text):
    told = text.partition("\n## Where every number comes from")[0]
    told = re.sub(r"`[^`]*`|\]\([^)]*\)", "", told)
    assert not re.findall(r".*\baccurac.*", told)
    assert re.search(r"python experiments/run_detector\.py \S*detectors", text)
    assert told.split("## Question and short answer")[1].strip().startswith("**Which filter")


def test_unpruned_detectors_answer_no_question_of_pruning(tmp_path):
    write_detector_study(tmp_path, {"l2_hard": {}}, removed, ap, levels=0)
    text = compose(load("detectors", tmp_path), [])
    short = section(text, "Question and short answer")
    assert "Nothing is pruned here: these are detectors for other studies to start from" in short
    assert "of a mean AP of [81.00 ± 2.48](#" in short


def test_every_entry_of_the_contents_leads_to_a_heading(text):
    from lottery.analysis.report.document import anchor

    headings = {anchor(line[3:]) for line in text.splitlines() if line.startswith("## ")}
    contents = re.findall(r"^- \[.*\]\(#(.*)\)$", text.partition("\n## ")[0], re.MULTILINE)
    assert contents
    assert set(contents) == headings
