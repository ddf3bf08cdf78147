"""The report of detectors whose walks end at different levels, and of two seeds."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from lottery.analysis.report import compose, load
from lottery.analysis.report.constrained import constrained
from lottery.analysis.report.published_detectors import PUBLISHED, beside
from lottery.analysis.report.saved import saved
from lottery.analysis.report.sources import Sources
from tests.analysis.detectors import add_baseline, write_detector_study
from tests.analysis.filters import SETTINGS
from tests.analysis.synthetic import write_study
from tests.analysis.test_report_detectors import answer
from tests.analysis.test_report_filters import cells, section

VARIANTS = {
    "l2_hard": {},
    "random_hard": {"prune": {"criterion": "random_filters"}},
    "l2_oneshot": {"prune": {"iterative": False}},
}
FELL = {("l2_hard", 0): 2, ("random_hard", 0): 1, ("random_hard", 1): 1, ("l2_oneshot", 0): 3}
"""Where validation AP falls by more than two points and the walk ends; others go on to level 4."""


def removed(variant, seed, level):
    """As many filters of each layer whatever the criterion, so that seeds agree by construction."""
    return 1 - 0.9**level


def ap(variant, seed, level):
    return 0.8 + 0.01 * seed - 0.004 * level - 0.03 * (level == FELL.get((variant, seed)))


def write(folder, **options):
    given = {"seeds": (0, 1), "levels": 4, "lengths": FELL, "data": "voc(BCCD, size=192)"}
    return write_detector_study(folder, VARIANTS, removed, ap, **(given | options))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    write(folder)
    return folder


@pytest.fixture(scope="module")
def study(results):
    return load("detectors", results)


@pytest.fixture(scope="module")
def text(study):
    return compose(study, [])


def test_nothing_is_averaged_over_levels_that_not_all_tickets_have(text):
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    for absent in ("Robustness", "Variants of the protocol", "Early stopping", "Why"):
        assert not [heading for heading in headings if heading.startswith(absent)]
    limits = section(text, "Limits")
    assert "4 of 6 tickets ended before the last level, as `prune.stop` says" in limits
    assert "end before the last level:" not in limits


def test_schemes_are_not_compared_by_means_over_levels_either(tmp_path):
    inits = ["xavier_normal", "kaiming_normal"]
    folder = write_study(
        tmp_path, "one", inits=inits, seeds=[0, 1], levels=2, evaluations=1, draws={"ticket": 1}
    )
    prune = SETTINGS["prune"] | {"stop": 0.01}
    config = SETTINGS | {"model": "lenet_300_100", "inits": inits, "prune": prune}
    text = compose(replace(load(folder), config=config), [])
    assert "This study cannot say: `prune.stop` ended its tickets" in text
    assert "## Do the schemes differ?" not in text
    assert "## Published claims" not in text


def test_means_at_a_level_end_with_the_first_ticket_of_the_variant(text):
    own = section(text, "Mean AP by parameters left (variant l2_hard)")
    assert re.findall(r"^\| (\d) \|", own, re.MULTILINE) == ["0", "1", "2"]
    assert "n = 2 seeds" in own
    assert "Kept at level 2" in section(text, "Networks")
    filters = section(text, "Filters")
    assert "At each variant's last level" not in filters
    (row,) = [line for line in filters.splitlines() if line.startswith("| l2_hard | random_hard |")]
    assert "| [+3.00, +3.00](#" in row
    assert row.endswith("| – | – |")
    assert "the value of each seed (n = 2: not tested)" in filters
    assert "`l2_oneshot` start each level from the unpruned network" in filters


def test_two_seeds_are_told_and_nothing_is_tested(text):
    own = cells(section(text, "Detector"), "l2_hard")
    assert own[1] == "1–4"
    assert own[2] == "10.0, 34.4"
    assert own[11] == "+10.0, +34.4 (n = 2: not tested)"
    told = text.partition("\n## Where every number comes from")[0]
    assert "(p " not in told
    assert "shown" not in told.replace("which the table above shows", "")
    suit = answer(text, "Which filter criteria suit?")
    assert "more than random filters is not tested (n = 2)" in suit
    assert "(n = 2: not tested)" in answer(text, "Which save operations?")
    assert "2 of 6 tickets never fell so far" in answer(text, "How far before")


def test_it_is_told_by_how_much_each_ticket_fell_and_from_where(text):
    walks = section(text, "Detector").partition("Where each walk ended")[2]
    assert "Level 0 has 80.0 % (seed 0) and 81.0 % (seed 1)." in walks
    assert cells(walks, "l2_hard")[1:] == ["1: −0.40; 2: −3.80", "4: −1.60"]
    assert cells(walks, "random_hard")[1:] == ["0: 0.00; 1: −3.40"] * 2
    assert "differ by 0.0 points (root mean square over 15 levels)" in walks


def test_unpruned_detectors_stand_beside_published_ones_on_the_same_pictures(study, text):
    own = section(text, "Detector")
    assert cells(own, "here, unpruned")[1] == "`tiny_yolo_v2`"
    assert cells(own, "here, unpruned")[3] == "80.00, 81.00"
    found = re.findall(r"\| (90\.43|90\.01|92\.40|94\.70) \|", own)
    assert len(found) == len(PUBLISHED["BCCD"]) == 4
    assert "no verdict follows" in own


@pytest.mark.parametrize("data", ["voc('photos/BCCD')", "voc(folder=BCCD, size=416)"])
def test_the_folder_tells_whose_pictures_these_are(study, data):
    assert "90.43" in beside(replace(study, config=study.config | {"data": data}), "80", "1")


@pytest.mark.parametrize("data", ["voc(photos)", "digit_scenes", "voc2007(size=416)"])
def test_of_other_pictures_nothing_is_published(study, data):
    assert beside(replace(study, config=study.config | {"data": data}), "80", "1") == ""


def test_walks_that_were_interrupted_are_no_walks_that_never_fell(results, tmp_path):
    folder = write(tmp_path, lengths=FELL | {("l2_hard", 1): 3})
    own = saved(load(folder))
    assert own.missing == 1
    table = own.table.set_index(["variant", "seed"])
    assert ("l2_hard", 1) not in table.index
    assert table["censored"].to_dict() == {
        ("l2_hard", 0): False, ("l2_oneshot", 0): False, ("l2_oneshot", 1): True,
        ("random_hard", 0): False, ("random_hard", 1): False,
    }  # fmt: skip


def test_levels_that_were_trained_since_the_measuring_are_read_from_levels(results, tmp_path):
    """Level 2 of a ticket was the last that was measured when levels 3 and 4 were trained."""
    folder = write(tmp_path)
    table = pd.read_csv(folder / "detectors.csv", dtype=str, keep_default_na=False)
    late = (table["variant"] == "l2_oneshot") & (table["level"].astype(int) > 1)
    table[~late].to_csv(folder / "detectors.csv", index=False)
    own = saved(load(folder))
    assert own.missing == 2
    assert set(own.table["variant"]) == {"l2_hard", "random_hard"}
    assert "2 tickets whose walk is not at its end yet" in compose(load(folder), [])


def test_detectors_that_were_not_measured_yet_are_detectors(results, tmp_path):
    folder = write(tmp_path)
    for name in ("detectors.csv", "precision_recall.parquet", "detections.parquet"):
        (folder / name).unlink()
    text = compose(load(folder), [])
    assert "run_detector.py" in section(text, "Detector")
    assert "not measured yet" in section(text, "Detector")
    assert "run_filters" not in text and "run_grid" not in text
    told = re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)
    assert "accuracy" not in told.partition("\n## Where every number comes from")[0]


def test_what_was_trained_elsewhere_is_neither_timed_nor_counted(text):
    """Level 0 of six tickets is another study's; 15 levels of one second each are left."""
    assert "Training alone took 15 s" in section(text, "How to make it again")
    assert "in `detectors-unpruned`" in section(text, "How to make it again")
    assert "Computed as 15 levels by `reference`" in section(text, "Limits")


def test_evaluations_of_rewound_levels_are_counted_from_where_they_begin(results, study):
    """Steps of curves go on from where level 0 was rewound to."""
    rewound = study.curves["level"] > 0
    curves = study.curves.assign(step=study.curves["step"] + 2800 * rewound)
    told = section(compose(replace(study, curves=curves), []), "Limits")
    assert "Networks are evaluated every 40 steps" in told
    assert "The longest level has 100 steps" in told


@pytest.mark.parametrize(
    ("model", "name", "told"),
    [
        ("tiny_yolo_v2(width=0.25)", "detector-bccd", "run_detector.py detector-bccd-full"),
        ("yolo_v2(width=0.25)", "mine", "was not pruned here."),
        ("yolo_v2(classes=3)", "detector-bccd-full", ""),
    ],
)
def test_only_small_detectors_are_called_reduced(study, model, name, told):
    from lottery.analysis.report.making import limits

    own = replace(study, name=name, levels=study.levels.assign(model=model))
    assert (told in limits(own)) if told else "reduced" not in limits(own)


@pytest.mark.parametrize(
    ("few", "many", "verdict"),
    [
        ({"last": 4, "falls": True}, {"last": 1, "falls": True}, "reproduced"),
        ({"last": 4, "falls": False}, {"last": 1, "falls": True}, "reproduced"),
        ({"last": 4, "falls": True}, {"last": 1, "falls": False}, "undecided"),
        ({"last": 1, "falls": True}, {"last": 4, "falls": False}, "not reproduced"),
        ({"last": 1, "falls": False}, {"last": 4, "falls": True}, "undecided"),
    ],
)
def test_a_lower_bound_decides_only_in_its_own_direction(tmp_path, few, many, verdict):
    """Tickets that never fell could have been pruned further."""

    def written(name, classes, last, falls):
        return load(
            write_detector_study(
                tmp_path,
                {"l2_hard": {}},
                lambda _, seed, level: 1 - (0.9 - 0.01 * seed) ** level,
                lambda _, seed, level: 0.8 - 0.03 * (level > last),
                study=name,
                classes=classes,
                levels=last + falls,
            )
        )

    sides = written("few", ["5"], **few), written("many", ["1", "2"], **many)
    told = constrained(saved(sides[0]), [sides[1]], Sources())
    assert f"is **{verdict}**" in told
    assert told.count("never fell") == (not few["falls"]) + (not many["falls"])
    assert constrained(saved(sides[1]), [sides[0]], Sources()) == told


def same_way(folder, name, classes, data="voc(BCCD)"):
    """A study of one variant, whose tickets fall at level 3."""
    return write_detector_study(
        folder,
        {"l2_hard": {}},
        lambda _, seed, level: 1 - (0.9 - 0.01 * seed) ** level,
        lambda _, seed, level: 0.8 - 0.03 * (level > 2),
        study=name,
        classes=classes,
        data=data,
        levels=3,
    )


def test_tasks_are_compared_on_the_same_pictures_only(tmp_path):
    """Both are folders in VOC layout."""
    one = load(same_way(tmp_path, "one", ["5"], "voc(BCCD, names=['5'])"))
    two = load(same_way(tmp_path, "two", ["1", "2"]))
    assert "With one class of the same data" in constrained(saved(one), [two], Sources())
    other = replace(two, config=two.config | {"data": "voc(cars)"})
    assert constrained(saved(one), [other], Sources()) == ""


@pytest.mark.parametrize("group", ["train", "prune", "rewind"])
def test_tasks_are_compared_only_where_they_are_pruned_in_the_same_way(tmp_path, group):
    one, two = (load(same_way(tmp_path, name, [*name])) for name in ("a", "bc"))
    changed = two.config[group] | {"to": 1}
    assert not constrained(
        saved(one), [replace(two, config=two.config | {group: changed})], Sources()
    )
    looked = two.config["train"] | {"eval_every": "7it"}
    assert constrained(saved(one), [replace(two, config=two.config | {"train": looked})], Sources())


def test_tasks_are_compared_beside_their_unpruned_networks_trained_on(tmp_path):
    """It gains 1.2 points a level: tickets have fallen at level 2 beside it, else at level 3."""
    sides = [same_way(tmp_path, name, [*name]) for name in ("a", "bc")]
    for side in sides:
        add_baseline(side, "l2_hard", 0.012)
    one, two = map(load, sides)
    told = constrained(saved(one), [two], Sources())
    assert "fewer MACs within 2 points of the unpruned network trained on for as many" in told
    assert told.count("[1.06× (1.04 to 1.07)]") == 2, "MACs fall by 5, 5.5 and 6 % at level 1"


def test_two_seeds_decide_no_claim(tmp_path, study):
    other = load(write(tmp_path, study="one", classes=["5"], lengths={}))
    told = constrained(saved(study), [other], Sources())
    assert "With 2 and 2 seeds it is not tested. " in told
    assert "is **undecided**" in told


def test_a_difference_of_one_level_is_not_called_more(tmp_path):
    """l2 ends two levels after random filters, geometric_median one, in each of three seeds."""
    last = {"l2_hard": 3, "geometric_median_hard": 2, "random_hard": 1}
    folder = write_detector_study(
        tmp_path,
        {"l2_hard": {}, "geometric_median_hard": {}, "random_hard": VARIANTS["random_hard"]},
        lambda variant, seed, level: 1 - (0.9 - 0.01 * seed) ** level,
        lambda variant, seed, level: 0.8 - 0.03 * (level > last[variant]),
        levels=4,
        lengths={(name, seed): level + 1 for name, level in last.items() for seed in range(3)},
    )
    text = compose(load(folder), [])
    suit = answer(text, "Which filter criteria suit?")
    assert "removed in the same way (Holm): `l2_hard`; " in suit
    assert "apart by a level or less, which one evaluation decides: `geometric_median_hard`" in suit
    assert "shown to save less at this n: `random_hard`)" in answer(text, "Which save memory?")
