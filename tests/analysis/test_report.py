"""A report made from planted tables: what it says, and that every number leads to its rows."""

import base64
import html.parser
import io
import json
import re
import shutil
from pathlib import Path
from statistics import mean

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from lottery.analysis.report import compose, write
from lottery.analysis.report.document import anchor
from lottery.analysis.report.html import page
from lottery.analysis.report.study import load
from lottery.errors import StoreError
from lottery.study import StudyConfig
from tests.analysis.synthetic import write_study

RESULTS = Path(__file__).parents[2] / "results"
SCHEMES = ["xavier_normal", "xavier_uniform", "kaiming_normal", "kaiming_uniform"]
DRAWS = {"ticket": 1, "dense": 1, "reinit": 2, "random": 1}
RUN = {
    "started": "2020-02-02T02:02:02+00:00",
    "git_commit": "0123456789abcdef",
    "python": "3.11.7",
    "versions": {"torch": "2.11.0"},
    "host": {"processor": "A processor", "cores": 2},
    "device": "cpu",
    "seconds": 3720,
    "cells_computed": 16,
}
QUESTION, AGAIN = "Question and short answer", "How to make it again"
LINK = re.compile(r"\[([^\]]*)\]\(#(e\d+)\)")
NUMBER = re.compile(r"[+−-]?\d[\d,]*\.?\d*(?:e-?\d+)?")


def planted(results, edit=None, inits=SCHEMES, seeds=range(4), levels=4, draws=DRAWS, **options):
    """A study's folder with its configuration; `edit` changes the table of levels."""
    folder = write_study(
        results, "planted", inits=inits, seeds=seeds, levels=levels, draws=draws, **options
    )
    if edit is not None:
        table = pd.read_csv(folder / "levels.csv")
        edit(table)
        table.to_csv(folder / "levels.csv", index=False)
    config = StudyConfig(name="planted", inits=list(inits), seeds=list(seeds), levels=levels)
    (folder / "study.yaml").write_text(yaml.safe_dump(config.to_dict(), sort_keys=False))
    (folder / "manifest.json").write_text(json.dumps({"study": "planted", "runs": [RUN]}))
    return folder


def figure(folder):
    path = folder / "plots" / "accuracy_by_weights.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", (30, 20), "red").save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return planted(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def markdown(folder):
    return compose(load(folder), [figure(folder)])


@pytest.fixture(scope="module")
def web_page(folder, markdown):
    return page(markdown, folder)


def section(markdown, title):
    return markdown.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def entries(markdown):
    """Appendix entries by mark: their lines."""
    appendix = section(markdown, "Where every number comes from")
    parts = re.split(r'- <a id="(e\d+)"></a>', appendix)
    return {mark: text.splitlines() for mark, text in zip(parts[1::2], parts[2::2], strict=True)}


def as_number(text):
    return float(text.replace("−", "-").replace(",", ""))


def rows_in(lines, markdown):
    """(seed, side, cell, levels, values) of everything that an entry lists."""
    cells = dict(re.findall(r"^- \*\*(c\d+)\*\* `(.*)`$", markdown, re.MULTILINE))
    everywhere = re.search(r"All at levels? ([\d–, ]+)\.", lines[0])
    for line in lines[1:]:
        seed = re.match(r"\s+- seed (\d+): ", line)
        if not seed:
            continue
        for part in line[seed.end() :].split("; "):
            values, cell, at = re.fullmatch(
                r"(?:\S+ from )?(.*?) \((c\d+)(?: levels? (.*?))?\)", part
            ).groups()
            side = -1 if values.startswith("− ") else 1
            numbers = [float(value) for value in values.removeprefix("− ").split(", ")]
            levels = spread_out(at or everywhere[1])
            yield int(seed[1]), side, cells[cell], levels, numbers


def spread_out(text):
    levels = []
    for part in text.split(", "):
        first, _, last = part.partition("–")
        levels += range(int(first), int(last or first) + 1)
    return levels


def from_table(table, cell, levels, column, values):
    """What the table says of a row's values, computed here from its plainest columns."""
    own = [table[cell, level] for level in levels]
    if column in own[0]:
        return [row[column] for row in own]
    accuracy = mean(row["test_accuracy"] for row in own)
    ticket = table[f"{own[0]['init']}-s{own[0]['seed']}-ticket-0", 0]
    if column == "mean_accuracy":
        return [accuracy]
    if column == "area":
        return [accuracy - ticket["test_accuracy"]]
    if column == "speed_up":
        return [ticket["early_stop_step"] / own[0]["early_stop_step"]]
    return values


def test_every_link_leads_somewhere(folder, markdown):
    places = {anchor(line.lstrip("# ")) for line in markdown.splitlines() if line.startswith("#")}
    places |= set(re.findall(r'<a id="([^"]+)">', markdown))
    targets = re.findall(r"\]\(([^)]+)\)", markdown)
    assert len(targets) > 100
    for target in targets:
        assert target[1:] in places if target.startswith("#") else (folder / target).is_file()


def test_every_entry_lists_the_values_that_the_table_has(folder, markdown):
    frame = pd.read_csv(folder / "levels.csv")
    table = {(row["cell"], row["level"]): row for row in frame.to_dict("records")}
    checked = 0
    for lines in entries(markdown).values():
        column = re.search(r"`(\w+)` of `levels.csv`", lines[0])[1]
        for _, _, cell, levels, numbers in rows_in(lines, markdown):
            expected = from_table(table, cell, levels, column, numbers)
            assert numbers == pytest.approx(expected, rel=1e-5, abs=1e-6)
            checked += 1
    assert checked > 500


def test_every_mean_is_that_of_the_rows_it_leads_to(markdown):
    listed = entries(markdown)
    checked = 0
    for text, mark in LINK.findall(markdown):
        if "±" not in text:
            continue
        sides = {}
        for seed, side, _, _, numbers in rows_in(listed[mark], markdown):
            sides.setdefault(seed, {}).setdefault(side, []).extend(numbers)
        per_seed = [sum(side * mean(v) for side, v in own.items()) for own in sides.values()]
        column = re.search(r"`(\w+)` of", listed[mark][0])[1]
        scale = 1 if column == "log2_critical_density" else 100
        digits = len(text.split(" ± ")[0].partition(".")[2])
        expected = scale * mean(per_seed)
        assert as_number(NUMBER.match(text)[0]) == pytest.approx(expected, abs=0.501 * 10**-digits)
        half = scale * 2 * np.std(per_seed, ddof=1) / np.sqrt(len(per_seed))
        stated = as_number(NUMBER.match(text.split(" ± ")[1])[0])
        assert stated == pytest.approx(1.591 * half, abs=0.0075, rel=0.01)
        checked += 1
    assert checked > 50


@pytest.mark.parametrize(
    ("title", "labels"),
    [
        ("Accuracy by weights remaining", 2),
        ("Tickets against their controls", 2),
        ("Early stopping", 2),
        ("Robustness of each scheme", 1),
    ],
)
def test_no_estimate_in_a_table_is_without_its_source(markdown, title, labels):
    rows = [line for line in section(markdown, title).splitlines() if line.startswith("| ")][1:]
    assert rows
    for row in rows:
        for cell in row.strip("| ").split(" | ")[labels:]:
            assert LINK.fullmatch(cell) or not cell.strip()


def test_the_order_of_rows_in_the_tables_changes_no_byte(folder, markdown, tmp_path):
    def shuffle(table):
        table[:] = table.sample(frac=1, random_state=1).to_numpy()

    other = planted(tmp_path, shuffle)
    assert compose(load(other), [figure(other)]) == markdown
    assert page(markdown, other) == page(markdown, folder)


def test_the_page_needs_nothing_else(web_page):
    seen = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            seen.append(tag)
            for name, value in attributes:
                if name == "href":
                    assert value.startswith("#")
                if name in ("src", "srcset", "data", "action", "poster"):
                    assert value.startswith("data:image/png;base64,")

    Reader().feed(web_page)
    assert "img" in seen
    assert "table" in seen
    assert not {"link", "iframe", "object"} & set(seen)
    assert "@import" not in web_page
    assert "url(" not in web_page


def test_every_link_of_the_page_has_its_target(web_page):
    targets = set(re.findall(r'href="#([^"]+)"', web_page))
    identities = re.findall(r'id="([^"]+)"', web_page)
    assert targets <= set(identities)
    assert len(identities) == len(set(identities))


@pytest.mark.parametrize(("side", "colors"), [(100, 64), (200, 256)])
def test_figures_with_photographs_keep_more_colours(tmp_path, side, colors):
    """Those of boxes in them mean classes, and were lost among the photographs' own."""
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "figure.png")
    found = page("# A\n\n![All](figure.png)\n", tmp_path)
    data = found.partition("data:image/png;base64,")[2].partition('"')[0]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert len(image.convert("RGB").getcolors()) == colors


def test_the_figure_on_the_page_is_the_one_on_disk(web_page):
    assert '<figure><img src="data:image/png;base64,' in web_page
    assert "<figcaption>Test accuracy at the end of each level" in web_page


def shifted(amount, noise=0.0):
    """Tickets of the Xavier schemes do better by `amount` at every pruned level."""

    def edit(table):
        rng = np.random.default_rng(0)
        table["test_accuracy"] = 0.97 + noise * rng.normal(size=len(table))
        better = table["init"].str.startswith("xavier") & (table["level"] > 0)
        table.loc[better, "test_accuracy"] += amount

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (shifted(0.01, noise=0.0002), "levels: yes, Xavier − Kaiming."),
        (shifted(0.0, noise=0.0002), "levels: no, no declared contrast is as large as 0.1"),
        (shifted(0.0, noise=0.02), "levels: undecided at this n"),
    ],
    ids=["an effect", "none", "noise"],
)
def test_the_answer_is_what_was_planted(tmp_path, edit, words):
    folder = planted(tmp_path, edit, draws={"ticket": 1})
    answer = section(compose(load(folder), []), "Question and short answer")
    assert words in answer
    assert "here?** By the primary endpoint, accuracy, mean of all pruned levels: " in answer


def test_the_answer_says_what_the_endpoints_beside_the_primary_one_show(tmp_path):
    """Alike at pruned levels, but for noise in the unpruned network, which the area sees."""

    def edit(table):
        shifted(0.0, noise=0.0001)(table)
        noise = np.random.default_rng(2).normal(size=len(table))
        table["test_accuracy"] += 0.01 * noise * (table["level"] == 0)

    folder = planted(tmp_path, edit, draws={"ticket": 1})
    answer = section(compose(load(folder), []), QUESTION)
    assert "no, no declared contrast is as large as 0.1 percentage points. By the others:" in answer
    line = next(s for s in answer.splitlines() if "- Accuracy less unpruned" in s)
    assert line.count("undecided") == 2
    assert "undecided by accuracy less unpruned" in answer


def test_one_scheme_alone_says_nothing_about_schemes(tmp_path):
    text = compose(load(planted(tmp_path, inits=["xavier_normal"])), [])
    assert "This study cannot say: it has Xavier normal" in text
    assert "## Do the schemes differ?" not in text


def test_sections_without_data_are_left_out(tmp_path):
    def no_early_stop(table):
        table["early_stop_step"] = None

    study = load(planted(tmp_path, no_early_stop, draws={"ticket": 1}, levels=2))
    text = compose(study, [])
    for title in ("Figures", "Tickets against their controls", "Early stopping"):
        assert f"## {title}" not in text
    for title in ("Few weights left", "Variants of the protocol"):
        assert f"## {title}" not in text
    assert "](#early-stopping)" not in text


def test_a_study_that_was_never_pruned_has_a_report(tmp_path):
    text = compose(load(planted(tmp_path, draws={"dense": 1}, levels=2)), [])
    assert "No tickets in the tables." in text


def test_one_seed_has_no_intervals(tmp_path):
    text = compose(load(planted(tmp_path, seeds=[0], draws={"ticket": 1}, levels=2)), [])
    assert " ± " not in section(text, "Accuracy by weights remaining").partition("|")[2]
    assert "nan" not in text


def test_a_study_without_configuration_or_manifest_says_so(tmp_path):
    folder = planted(tmp_path, draws={"ticket": 1}, levels=1)
    for name in ("study.yaml", "manifest.json"):
        (folder / name).unlink()
    text = compose(load(folder), [])
    assert "no `study.yaml`" in section(text, "Protocol")
    assert "no `manifest.json`" in section(text, "How to make it again")


def test_limits_name_what_the_tables_lack(tmp_path):
    folder = planted(tmp_path, missing=[("xavier_normal", 1)], draws={"ticket": 1}, levels=3)
    limits = section(compose(load(folder), []), "Limits")
    assert "1 of 16 tickets end before the last level: `xavier_normal-s1-ticket-0`" in limits
    assert "no level of them" not in limits


def test_early_stops_at_the_end_are_counted_and_named_as_a_limit(tmp_path):
    """Two of four seeds, of all four schemes, have their least loss at the end of level 2."""

    def edit(table):
        table["early_stop_step"] = 400
        table.loc[(table["level"] == 2) & (table["seed"] < 2), "early_stop_step"] = 1000
        table.loc[(table["level"] == 0) & (table["seed"] < 1), "early_stop_step"] = 1000

    text = compose(load(planted(tmp_path, edit, draws={"ticket": 1}, levels=3)), [])
    stops = section(text, "Early stopping")
    assert "as have 4 of 16 unpruned ones" in stops
    counts = re.findall(r"\d+ of \d+ at end", stops)
    assert counts == ["0 of 16 at end", "8 of 16 at end", "0 of 16 at end"]
    limit = "12 of 64 levels of tickets have their least validation loss at the last step"
    assert limit in section(text, "Limits")


def test_the_rest_of_the_grid_and_cells_that_no_run_counted_are_named(tmp_path):
    folder = planted(tmp_path, draws={"ticket": 1}, levels=1)
    table = pd.read_csv(folder / "levels.csv")
    table[table["seed"] > 0].to_csv(folder / "levels.csv", index=False)
    (folder / "manifest.json").write_text(json.dumps({"runs": [RUN | {"cells_computed": 7}]}))
    again = section(compose(load(folder), []), "How to make it again")
    assert "12 of the 16 cells that the study asks for" in again
    assert "the first command also runs the other 4." in again
    assert "(they count 7 of the tables' 12 cells; the other 5 were finished in a run" in again


def test_a_study_that_is_whole_says_nothing_of_a_rest(tmp_path):
    again = section(compose(load(planted(tmp_path, draws={"ticket": 1}, levels=1)), []), AGAIN)
    assert "study asks for" not in again
    assert "before it was noted" not in again


def test_a_median_is_marked_as_a_bound_only_where_it_is_one(tmp_path):
    """Of three tickets one never falls half a point: the median is that of the second."""

    def edit(table):
        table["test_accuracy"] = 0.97
        falls = (table["level"] >= table["seed"] + 2) & (table["seed"] > 0)
        table.loc[falls, "test_accuracy"] = 0.9

    text = compose(load(planted(tmp_path, edit, seeds=range(3), draws={"ticket": 1})), [])
    row = next(s for s in section(text, "Robustness of each scheme").splitlines() if "1 of 3" in s)
    _, median, quartiles = (LINK.search(cell)[1] for cell in row.split(" | ")[1:4])
    assert not median.startswith("≤")
    assert quartiles.startswith("≤ ")
    assert "≤" not in quartiles[1:]


@pytest.mark.parametrize(("n", "least"), [(3, "0.25"), (4, "0.125"), (5, "0.0625")])
def test_what_few_seeds_cannot_show_follows_their_number(tmp_path, n, least):
    folder = planted(tmp_path, seeds=range(n), draws={"ticket": 1}, levels=1)
    text = section(compose(load(folder), []), "Do the schemes differ?")
    assert f"With n = {n} the Wilcoxon test cannot go below {least}." in text
    assert "five seeds" not in text


def test_limits_name_tickets_of_which_there_is_no_level(tmp_path):
    folder = planted(tmp_path, draws={"ticket": 1}, levels=2)
    table = pd.read_csv(folder / "levels.csv")
    diverged = (table["init"] == "xavier_normal") & (table["seed"] > 1)
    table[~diverged].to_csv(folder / "levels.csv", index=False)
    limits = section(compose(load(folder), []), "Limits")
    assert "no level of them (`manifest.json` notes no failed cell): Xavier normal" in limits
    assert "Xavier normal (seeds 2, 3)." in limits
    assert "every 200 steps" in limits
    assert "5 possible values per level, too few for ratios" in limits
    assert "python experiments/run_grid.py conv6 --device cuda" in limits


def test_how_it_was_made_comes_from_the_manifest(markdown):
    again = section(markdown, "How to make it again")
    file = "results/planted/study.yaml"  # as by its name alone it would not be found
    assert f"python experiments/run_grid.py {file} --results-dir again" in again
    assert "`0123456789`" in again
    assert "A processor, 2 cores; cpu" in again
    assert "1 h 2 min" in again


def test_a_shipped_study_is_made_again_by_its_name(tmp_path):
    folder = planted(tmp_path, draws={"ticket": 1}, levels=1).rename(tmp_path / "lenet")
    again = section(compose(load(folder), []), AGAIN)
    assert "python experiments/run_grid.py lenet --results-dir again" in again


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_two_seeds_have_no_test_of_equal_spread(tmp_path, markdown):
    assert "Brown-Forsythe test of equal spread" in markdown
    text = compose(load(planted(tmp_path, draws={"ticket": 1}, seeds=(0, 1))), [])
    assert "schemes at once, seeds as blocks" in text
    assert "Brown-Forsythe" not in text


def test_networks_and_schemes_are_those_of_the_layers(folder, markdown):
    networks = section(markdown, "Networks")
    assert "| `fc1.weight` | linear | 784 | 300 | 235,200 |" in networks
    assert "266,200" in networks
    schemes = section(markdown, "Initialisation schemes")
    assert "√(2 / (fan_in + fan_out)) (Glorot & Bengio 2010)" in schemes


def test_deviations_of_initial_weights_are_those_that_were_drawn(tmp_path):
    folder = planted(tmp_path, inits=["xavier_normal"], draws={"ticket": 1}, levels=0)
    row = section(compose(load(folder), []), "Initialisation schemes").splitlines()[-1]
    found = [float(cell) for cell in row.strip("| ").split(" | ")[2:]]
    drawn = [np.sqrt(2 / fans) for fans in (1084, 400, 110)]
    assert found == pytest.approx(drawn, rel=0.01)


def variants(folder):
    """Add a variant whose tickets do better by half a point at every pruned level."""
    table = pd.read_csv(folder / "levels.csv").assign(variant="original")
    other = table.assign(variant="changed", cell=table["cell"] + "-changed")
    other.loc[other["level"] > 0, "test_accuracy"] += 0.005
    pd.concat([table, other]).to_csv(folder / "levels.csv", index=False)
    config = yaml.safe_load((folder / "study.yaml").read_text())
    config["variants"] = {"original": {}, "changed": {"prune": {"scope": "global"}}}
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def test_variants_are_compared_with_the_first(tmp_path):
    folder = planted(tmp_path, draws={"ticket": 1}, levels=3)
    variants(folder)
    text = compose(load(folder), [])
    table = section(text, "Variants of the protocol").splitlines()
    changed = next(line for line in table if line.startswith("| changed |"))
    assert "[+0.50 ± 0.00]" in changed
    assert next(line for line in table if line.startswith("| original |")).count("reference") == 1
    assert "`changed` (prune.scope: global)" in section(text, "Protocol")
    answer = section(text, QUESTION)
    assert "(the primary endpoint): " in answer
    assert answer.count("    - `changed`:\n        - Accuracy of all levels: ") == 1


def test_defaults_that_a_variant_sets_are_shown_as_values(tmp_path):
    folder = planted(tmp_path, draws={"ticket": 1}, levels=1)
    variants(folder)
    config = yaml.safe_load((folder / "study.yaml").read_text())
    config["train"]["duration"] = "1000it"
    config["variants"]["changed"] = {
        "prune": {"output_rate": None, "linear_rate": 0.4, "biases": True},
        "rewind": {"init": None},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    text = compose(load(folder), [])
    said = section(text, "Protocol")
    assert "prune.output_rate: 0.2 as half of linear_rate, prune.linear_rate: 0.4" in said
    assert "prune.biases: yes, rewind.init: none but each scheme's own)" in said
    assert "| 1,000 steps of 60 images, Adam" in said
    assert "`lenet_300_100` of variant `original`: prunable weights" in section(text, "Networks")


def test_a_variant_with_fewer_schemes_is_judged_by_the_comparisons_it_allows(tmp_path):
    folder = planted(tmp_path, draws={"ticket": 1}, levels=3)
    variants(folder)
    table = pd.read_csv(folder / "levels.csv")
    fewer = (table["variant"] == "original") | table["init"].str.endswith("_normal")
    table[fewer].to_csv(folder / "levels.csv", index=False)
    text = compose(load(folder), [])
    short = section(text, QUESTION)
    endpoints = 2
    assert short.count("Xavier − Kaiming") == 2 * endpoints, "in either variant"
    assert short.count("normal − uniform") == endpoints, "not in the one without its schemes"
    assert "n = 0" not in short
    rows = section(text, "Variants of the protocol").splitlines()
    assert next(line for line in rows if line.startswith("| changed |")).endswith("|  |")


@pytest.mark.parametrize("late", [["changed"], ["original"], ["original", "changed"]])
def test_variants_that_have_no_tickets_yet_do_not_stop_a_report(tmp_path, late):
    folder = planted(tmp_path / "results", draws={"ticket": 1, "dense": 1}, levels=1)
    variants(folder)
    table = pd.read_csv(folder / "levels.csv")
    torn = table[~table["variant"].isin(late) | (table["branch"] == "dense")]
    torn.to_csv(folder / "levels.csv", index=False)
    markdown, _ = write(folder, tmp_path / "results", tmp_path / "plots")
    assert "nan" not in markdown.read_text()
    assert ("accuracy_by_variant" in markdown.read_text()) == (len(late) == 1)


def test_a_configuration_that_is_cut_short_is_named(tmp_path):
    folder = planted(tmp_path, draws={"ticket": 1}, levels=1)
    (folder / "study.yaml").write_text("model: lenet_300_100\n")
    with pytest.raises(StoreError, match=r"study\.yaml has no setting data, validation, train"):
        load(folder)


def test_verdicts_in_the_short_answer_are_those_of_the_table():
    text = compose(load("lenet", RESULTS), [])
    verdicts = section(text, "Published claims and verdicts")
    assert "### Frankle & Carbin 2019" in verdicts
    assert re.search(r"\*\*(not )?reproduced\*\*", verdicts)
    counts = re.search(
        r"of (\d+) claims tested, (.*?) \(95", section(text, "Question and short answer")
    )
    assert int(counts[1]) == sum(int(count) for count in re.findall(r"\d+", counts[2]))


def test_verdicts_of_another_scale_are_counted_apart_and_each_claim_has_its_line():
    study, conv = (load(name, RESULTS) for name in ("lenet", "conv6-small"))
    answer = section(compose(study, [], conv.levels), "Question and short answer")
    head = "- **stfwn/neural-network-pruning, report of 2020"
    plain = answer.partition(f"{head}**")[2].partition("\n- **")[0]
    apart = answer.partition(f"{head}, at another scale (`conv6(width=0.25)`)**")[2]
    apart = apart.partition("\n- **")[0]
    assert "Conv-6" not in plain
    assert apart.startswith(": of 1 claim tested, 1 not reproduced (")
    assert "\n        - LeNet recovers from pruning better than Conv-6: [" in apart
    counted = int(re.search(r"of (\d+) claims tested", plain)[1])
    assert plain.count("\n        - ") == counted
    assert ", variant base" not in answer


def test_claims_put_to_one_scheme_say_so_and_one_figure_stands_once():
    text = compose(load("lenet", RESULTS), [])
    answer = section(text, QUESTION)
    assert answer.count("Xavier normal alone") == 1
    direction = "Tickets with 21 % of the weights reach early stop sooner than the unpruned network"
    assert f"{direction}; Tickets with 21 % of the weights reach early stop 38 % earlier: [" in text
    claims = section(text, "Published claims and verdicts")
    assert "### Frankle & Carbin 2019\n\nAll computed on Xavier normal alone.\n" in claims
    lines = [lines[0] for lines in entries(text).values() if "Verdict: fc19" in lines[0]]
    assert len(lines) > 20
    assert all("init = xavier_normal." in line for line in lines)


def test_an_interval_of_90_percent_says_so():
    text = compose(load("lenet", RESULTS), [])
    alike = next(line for line in text.splitlines() if line.startswith("| Normal and uniform"))
    assert ",\u00a090\u00a0%)]" in alike
    other = next(line for line in text.splitlines() if line.startswith("| Tickets with 13.5"))
    assert "90\u00a0%" not in other


def test_what_is_shown_to_be_small_is_named_beside_what_is_undecided(tmp_path):
    def edit(table):
        """Alike but for noise that only normal − uniform sees."""
        shifted(0.0, noise=0.0001)(table)
        rng = np.random.default_rng(1)
        noise = dict(zip(range(4), 0.02 * rng.normal(size=4), strict=True))
        normal = table["init"].str.endswith("normal")
        table.loc[normal, "test_accuracy"] += table.loc[normal, "seed"].map(noise)

    answer = section(compose(load(planted(tmp_path, edit, draws={"ticket": 1})), []), QUESTION)
    small = "Shown to be smaller than 0.1 percentage points: Xavier − Kaiming."
    assert f": undecided at this n, normal − uniform. {small}" in answer


def test_a_reduced_network_is_told_how_to_run_the_full_one(tmp_path):
    folder = planted(tmp_path, draws={"ticket": 1}, levels=1)
    table = pd.read_csv(folder / "levels.csv").assign(model="conv2(width=0.5)")
    table.to_csv(folder / "levels.csv", index=False)
    limits = section(compose(load(folder), []), "Limits")
    assert "`conv2(width=0.5)` is a reduced network" in limits
    assert "run_grid.py conv2 --device cuda" in limits


def test_a_control_whose_ticket_is_missing_is_not_compared(tmp_path):
    folder = planted(tmp_path, draws={"ticket": 1, "reinit": 1, "random": 1}, levels=2)
    table = pd.read_csv(folder / "levels.csv")
    ticket, late = table["branch"] == "ticket", table["level"] == 2
    of_one = (table["init"] == SCHEMES[0]) & (table["branch"] == "reinit")
    torn = table[~(ticket & late & (table["init"] == SCHEMES[0]))]
    torn = torn[(torn["branch"] != "reinit") | of_one[torn.index]]
    torn.to_csv(folder / "levels.csv", index=False)
    rows = section(compose(load(folder), []), "Tickets against their controls").splitlines()
    last = next(line for line in rows if line.startswith("| 2 | "))
    assert [bool(LINK.search(cell)) for cell in last.split(" | ")[2:]] == [
        True,
        False,
    ]  # random, reinit


def diagnosed(folder, quantities):
    """Write diagnostics of the tickets: each quantity a function of the rows of levels."""
    levels = pd.read_csv(folder / "levels.csv").assign(variant="base")
    tickets = levels[levels["branch"] == "ticket"]
    keys = ["study", "cell", "variant", "init", "seed", "branch", "draw"]
    rows = tickets[[*keys, "level", "weights_remaining"]]
    table = [
        rows.assign(layer="all", quantity=name, value=function(tickets))
        for name, function in quantities.items()
    ]
    pd.concat(table).to_parquet(folder / "diagnostics.parquet")


def robust_by_scheme(table):
    order = {init: place for place, init in enumerate(SCHEMES)}
    gain = 0.01 * table["init"].map(order) + 0.003 * table["seed"]
    table["test_accuracy"] = 0.9 + gain * (table["level"] > 0)


def test_what_explains_robustness_is_named_with_its_strength_and_rows(tmp_path):
    folder = planted(tmp_path, robust_by_scheme, seeds=range(5), draws={"ticket": 1})
    noise = np.random.default_rng(0)
    diagnosed(
        folder,
        {
            "sign_flips": lambda tickets: tickets["test_accuracy"] * 2,
            "dead_units": lambda tickets: noise.random(len(tickets)),
        },
    )
    text = compose(load(folder), [])
    why = section(text, "Why")
    flips = next(line for line in why.splitlines() if line.startswith("| Sign flips"))
    assert "+1.00" in flips
    assert "explains" in flips
    dead = next(line for line in why.splitlines() if line.startswith("| Dead units"))
    assert "not shown" in dead
    answer = section(text, "Question and short answer")
    assert "1 of 2 diagnostics explains robustness" in answer
    assert re.search(r"\n    - area:\n        - sign flips, ρ = \+1\.00", answer)
    table = pd.read_parquet(folder / "diagnostics.parquet")
    mark = LINK.search(flips.split(" | ")[3])[2]
    for _, _, cell, levels, numbers in rows_in(entries(text)[mark], text):
        own = table[(table["cell"] == cell) & (table["quantity"] == "sign_flips")]
        expected = own[own["level"].isin(levels)]["value"].mean()
        assert numbers == pytest.approx([expected], rel=1e-5)


def test_without_diagnostics_the_report_does_not_say_why(markdown):
    assert "\n## Why\n" not in markdown
    assert "recorded no diagnostics" in section(markdown, "Question and short answer")


@pytest.mark.long
@pytest.mark.parametrize("study", sorted(path.parent.name for path in RESULTS.glob("*/report.md")))
def test_a_committed_report_is_what_its_tables_give(tmp_path, study):
    shutil.copytree(RESULTS, tmp_path / "results")
    markdown, _ = write(study, tmp_path / "results", tmp_path / "plots")
    assert markdown.read_text() == (RESULTS / study / "report.md").read_text()
