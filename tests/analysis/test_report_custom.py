"""Sections on scale, travel and a custom scheme: their numbers are those of the analysis."""

import dataclasses
import re

import pytest
import torch

from lottery.analysis import mean_interval
from lottery.analysis.choice import Choice
from lottery.analysis.figures.style import scheme_name
from lottery.analysis.report import acceptance as custom
from lottery.analysis.report import choice as choices
from lottery.analysis.report import compose, others
from lottery.analysis.report.acceptance import acceptance
from lottery.analysis.report.answer import answer
from lottery.analysis.report.document import anchor
from lottery.analysis.report.scale import scale, travel
from lottery.analysis.report.schemes import schemes
from lottery.analysis.report.sources import Sources
from lottery.analysis.report.study import load
from lottery.init.ticket_informed import TicketFit, fit
from tests.analysis import test_acceptance as rule
from tests.analysis import test_choice as screen
from tests.analysis import test_figures_scale as planted
from tests.analysis.planted import levels as planted_levels
from tests.analysis.synthetic import write_study
from tests.analysis.test_factorial import corners

LINK = re.compile(r"\[([^\]]*)\]\(#(e\d+)\)")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study whose tables the tests replace."""
    return load(write_study(tmp_path_factory.mktemp("results"), "confirm", levels=2))


def with_levels(study, levels, diagnostics=None, name="confirm"):
    return dataclasses.replace(study, name=name, levels=levels, diagnostics=diagnostics)


def judged(study, name="confirm", **changes):
    every = rule.studies(**changes)
    own, others = every[every["study"] == name], every[every["study"] != name]
    sources = Sources()
    return acceptance(with_levels(study, own, name=name), others, rule.CHOICE, sources), sources


def row_of(text, start):
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_scheme_that_meets_the_rule_works_and_both_questions_are_answered(study):
    text, _ = judged(study)
    assert text.startswith("**Normal (0.05) works**: 5 of 5 conditions are met.")
    first, second = (text.split(question)[1] for question in ("standard ones?** ", "methods?** "))
    assert first.startswith("On LeNet the area differs by [+0.98 ± 0.06](#e")
    assert "(n = 8): met. Accuracy over pruned levels differs by [+0.98 ± 0.06](#e" in first
    assert "pp, unpruned by [0.00 ± 0.00](#e" in first
    assert second.startswith("The difference is above 0 in 7 of 7 methods")
    assert "in the mean of a seed's methods [+0.98 ± 0.06](#e" in second
    assert "would give +0.98 ± 0.02 pp" in second
    assert "takes methods for independent, but they share seeds" in second


def test_the_table_has_each_condition_with_its_figure_n_and_verdict(study):
    text, _ = judged(study, methods=rule.signs(4), conv={"gain": 0.0001}, lenet={"dense": -0.002})
    assert text.startswith("**Normal (0.05) does not work**: 2 of 5 conditions are met.")
    found = {name: row_of(text, name)[2:] for name in rule.NAMES}
    assert [row[-1] for row in found.values()] == [
        *("met", "**not met**", "**not met**", "**undecided**", "met"),
    ]
    assert found["Unpruned accuracy on LeNet"][0].startswith("[−0.20 ± 0.00]")
    assert [row[-2] for row in found.values()] == ["8"] * 5
    assert found["Area over pruning methods"][0].endswith("4 of 7")


def test_studies_that_were_not_run_are_no_data_and_not_met(study):
    text, _ = judged(study, drop=["conv", "methods"])
    assert "is not shown to work**: 2 of 5" in text
    assert row_of(text, "Area on a convolutional network")[2:] == ["–", "–", "**no data**"]
    assert "On a convolutional network: no data yet." in text
    assert "Method by method" not in text


def test_every_number_leads_to_the_cells_of_its_study(study):
    text, sources = judged(study)
    marks = {mark: source for source, mark in sources.found.items()}
    links = LINK.findall(text)
    assert {mark for _, mark in links} == set(marks)
    for label, mark in links:
        if "DerSimonian" not in marks[mark].how:
            mean = 100 * mean_interval(value for _, value in marks[mark].values).mean
            shown = float(label.partition(" ±")[0].replace("−", "-"))
            assert shown == pytest.approx(mean, abs=0.0051)
    tables = {source.table for source in sources.found}
    assert tables == {"levels.csv", "../conv/levels.csv", "../methods/levels.csv"}


def test_the_short_answer_has_effect_interval_and_n_of_both_questions(study):
    every = rule.studies()
    own, others = every[every["study"] == "confirm"], every[every["study"] != "confirm"]
    point = custom.short(with_levels(study, own), others, rule.CHOICE, Sources())
    head, networks, methods = point.split("\n    - ")
    assert "**Normal (0.05) works**: 5 of 5 conditions are met." in head
    assert head.endswith(f"(#{anchor(custom.TITLE)}).")
    assert "On LeNet the area differs by [+0.98 ± 0.06](#e1) pp (n = 8): met." in networks
    assert "above 0 in 7 of 7 methods, in the mean of a seed's methods [+0.98 ± 0.06]" in methods
    assert custom.short(study, None, rule.CHOICE, Sources()) == ""


def test_a_verdict_names_the_studies_it_was_read_from(study):
    text, _ = judged(study)
    assert "read from the tables of `confirm`, `conv` and `methods`" in text


def test_the_report_of_the_screen_tells_what_was_chosen_and_why(study):
    levels = screen.table()
    named = with_levels(study, levels, name="planted")
    choice = screen.choose(levels, "planted", judges=["confirm"])
    text = choices.choice_made(named, choice, Sources())
    assert text.startswith("Normal (0.05) was chosen by validation accuracy, to be judged against")
    lead = re.sub(r"\(#e\d+\)", "", text)
    assert "leads Normal (0.1) by [+2.000 ± 0.000] pp and Xavier normal by [+1.000" in lead
    assert row_of(text, "Sign constant")[2:] == ["[0.000 ± 0.000](#e1)", "[97.05](#e2)", "**no**"]
    assert row_of(text, "**Normal (0.05)**")[2].startswith("[−1.000 ± 0.000]")
    assert row_of(text, "Normal (0.1)")[2].startswith("[−3.000 ± 0.000]")
    assert "Seeds 0, 1 and 2 chose, and judge nothing: `confirm` judge" in text
    assert choices.short(named, choice).endswith(f"(#{anchor(choices.TITLE)}).")


def test_only_the_report_of_the_screen_tells_of_the_choice(study):
    choice = screen.choose(screen.table(), "another")
    named = with_levels(study, screen.table(), name="planted")
    assert choices.choice_made(named, choice, Sources()) == choices.short(named, choice) == ""
    assert choices.choice_made(named, None, Sources()) == choices.short(named, None) == ""


@pytest.mark.parametrize(("other", "behind"), [("xavier_normal", 0.01), ("normal(0.1)", 0.02)])
def test_a_lead_within_the_noise_is_called_no_difference(study, other, behind):
    """Over the standard scheme, or over the candidate that would have been chosen in its place."""
    levels = screen.table()
    loser = (levels["init"] == other) & (levels["level"] > 0)
    levels.loc[loser, "val_accuracy"] += behind - 0.001 + 0.01 * (levels.loc[loser, "seed"] - 1)
    text = choices.choice_made(
        with_levels(study, levels, name="planted"), screen.choose(levels, "planted"), Sources()
    )
    assert "which is no difference" in text


def own_scheme(**options):
    def accuracy(init, seed, level, **_):
        worse = 0.02 + 0.001 * (seed % 2) if init == "mine:half" and level else 0
        return 0.98 + 0.0005 * seed - worse

    inits = ["mine:half", "xavier_normal", "kaiming_normal"]
    return planted_levels(accuracy, inits=inits, seeds=range(5), last=3, **options)


def test_a_scheme_of_ones_own_is_compared_in_the_short_answer_and_a_table(study):
    named = with_levels(study, own_scheme())
    expected = mean_interval([-2.0, -2.1, -2.0, -2.1, -2.0])
    figure = f"−{-expected.mean:.3f} ± {expected.high - expected.mean:.3f}"
    point = others.short(named, Sources())
    assert f"[{figure} pp](#e1) (n = 5, Holm-corrected p < 0.001), differ" in point
    text = others.others(named, Sources())
    assert text.startswith("Each scheme less the mean of Xavier normal and Kaiming normal of")
    cells = row_of(text.split("### ")[1], scheme_name("mine:half"))
    assert cells[1].startswith(f"[{figure}]")
    assert cells[-1] == "differ"


def test_a_study_of_a_standard_scheme_and_ones_own_does_not_say_that_it_cannot_say(study):
    levels = own_scheme()
    named = with_levels(study, levels[levels["init"] != "kaiming_normal"])
    said = answer(named, [], [], Sources())
    assert "cannot say" not in said
    assert "Do other schemes differ from the standard ones?" in said


def test_standard_schemes_are_no_other_schemes(study):
    levels = own_scheme()
    alone = with_levels(study, levels[levels["init"] != "mine:half"])
    assert others.others(alone, Sources()) == others.short(alone, Sources()) == ""


def with_scheme(study, init):
    """The study, all of it of one scheme."""
    tables = {name: getattr(study, name).assign(init=init) for name in ("levels", "layers")}
    return dataclasses.replace(study, **tables)


def test_it_is_told_which_tickets_a_scheme_was_fitted_to(study, tmp_path):
    file = tmp_path / "mine.json"
    layer = fit({"fc1.weight": torch.randn(50, generator=torch.Generator().manual_seed(0))})
    source = {"values": "initial", "study": "lenet", "init": "kaiming_normal", "level": 7,
              "model": "lenet_300_100"}  # fmt: skip
    file.write_text(TicketFit(source, [8, 9], layer).to_json())
    bases = {"": "Xavier normal", ", base=kaiming_uniform": "Kaiming uniform"}
    for option, base in bases.items():
        own = with_scheme(study, f"ticket_informed('{file}'{option})")
        text = schemes(own)
        assert "the tickets of `lenet` (Kaiming normal, `lenet_300_100`, seeds 8 and 9)" in text
        assert f"keep at level 7. What its name negates is as in its base, {base}." in text
    file.unlink()
    assert "seeds 8 and 9" not in schemes(own), "no file, and yet it is told of"


def test_only_studies_that_judge_the_choice_speak_of_it(study):
    own = rule.study("confirm", seeds=range(3))
    assert acceptance(with_levels(study, own), None, rule.CHOICE, Sources()) == ""
    assert acceptance(study, None, rule.CHOICE, Sources()) == ""
    assert acceptance(with_levels(study, rule.study("confirm")), None, None, Sources()) == ""
    alone = acceptance(with_levels(study, rule.study("confirm")), None, rule.CHOICE, Sources())
    assert "2 of 5 conditions are met" in alone


def test_effects_of_scale_are_told_in_each_variant(study):
    frame = planted.table()
    sources = Sources()
    text = scale(with_levels(study, frame), sources)
    adam, sgd = text.split("### sgd")
    line = "| Narrower or wider? | normal, per doubling of σ | [{}]"
    assert line.format("−0.40 ± 0.00") in adam
    assert line.format("0.00 ± 0.00") in sgd
    assert "first, 2 times as wide | [−0.40" in adam
    marks = {mark: source for source, mark in sources.found.items()}
    for label, mark in LINK.findall(text):
        if "±" in label:
            mean = 100 * marks[mark].interval().mean
            assert float(label.partition(" ±")[0].replace("−", "-")) == pytest.approx(
                mean, abs=0.0051
            )


def test_a_slope_that_the_widest_scheme_makes_is_told_without_it_too(study):
    frame = planted.table(variants=["adam"])
    widest = (frame["init"] == "xavier_normal(gain=4.0)") & (frame["level"] > 0)
    frame.loc[widest, "test_accuracy"] -= 0.05
    text = scale(with_levels(study, frame), Sources())
    area = {
        line.split(" | ")[1]: line.split(" | ")[2].partition(" ±")[0]
        for line in text.splitlines()
        if "| normal, per doubling" in line
    }
    assert area["normal, per doubling of σ, up to 2 times Xavier's"] == "[−0.40"
    assert float(area["normal, per doubling of σ"].replace("−", "-")[1:]) < -1


def test_a_scheme_with_less_to_lose_unpruned_is_seen_not_to_be_better_pruned(study):
    frame = planted.table()
    wide = (frame["init"] == "xavier_normal(gain=4.0)") & (frame["level"] == 0)
    frame.loc[wide, "test_accuracy"] -= 0.05
    cells = []
    for table in (planted.table(), frame):
        text = scale(with_levels(study, table), Sources())
        line = next(line for line in text.splitlines() if "| normal, per doubling of σ |" in line)
        cells.append([cell.partition("]")[0] for cell in line.split(" | ")])
    (_, _, area, *_, accuracy, _, _), (_, _, misled, *_, same, _, _) = cells
    assert area == "[−0.40 ± 0.00"
    assert misled.startswith("[+")
    assert accuracy == same == "[−0.40 ± 0.00"


def test_what_schemes_take_from_tickets_is_told_without_an_axis_of_widths(tmp_path):
    inits = [init for init, _ in corners()]
    folder = write_study(tmp_path, "factorial", inits=inits, levels=2)
    text = scale(load(folder), Sources())
    rows = [line.split(" | ")[:2] for line in text.splitlines() if "What of tickets?" in line]
    assert [name.partition(" ")[0] for _, name in rows] == ["shape", "scale", "sign"]


def test_travel_of_weights_is_told_within_variants_and_over_all(study):
    frame = planted.table()
    text = travel(with_levels(study, frame, planted.recorded(frame)), Sources())
    _, *rows = [line.split(" | ")[:3] for line in text.splitlines() if line.startswith("| ")]
    where = [(variant.removeprefix("| "), against) for variant, _, against in rows]
    assert where == [
        (variant, against)
        for variant in ("adam", "sgd", "all variants")
        for against in ("area", "area", "accuracy", "accuracy")
    ]
    assert "33 (11 × 3)" in text
    assert "66 (22 × 3)" in text


def test_a_study_without_an_axis_or_diagnostics_has_no_such_sections(study):
    assert scale(study, Sources()) == ""
    assert travel(study, Sources()) == ""
    text = compose(study, [], None, Choice("lsuv", "xavier_normal", "s", [], [], []))
    for title in ("A custom initialisation", "Scale, shape or place", "Travel of weights"):
        assert title not in text
