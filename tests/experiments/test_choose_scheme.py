"""The command writes the choice once, and the studies that judge it follow it."""

import pytest
import yaml

from experiments import choose_scheme
from lottery.analysis.choice import Choice
from lottery.registry import canonical, parse_spec
from tests.analysis.synthetic import write_study
from tests.tiny import ROOT

CONFIGS = ROOT / "experiments" / "configs"
CHOSEN = ROOT / "experiments" / "schemes" / "chosen.yaml"
JUDGES = ("custom-confirm", "custom-confirm-conv", "methods")


def settings(name):
    return yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())


def test_the_program_writes_the_same_file_again_and_no_other(tmp_path, capsys):
    def chosen(study, *inits):
        write_study(tmp_path, study, inits=inits, levels=3, noise=1e-5)
        return choose_scheme.main([study, "--results-dir", str(tmp_path), "--out", str(out)])

    out = tmp_path / "new" / "chosen.yaml"
    assert chosen("screen", "kaiming_normal", "xavier_uniform", "orthogonal") == 0
    first = out.read_bytes()
    assert chosen("screen", "kaiming_normal", "xavier_uniform", "orthogonal") == 0
    told = capsys.readouterr().out
    assert told.count("is orthogonal\nand the first standard one ") == 2
    assert told.count(f": {out}\n") == 2
    assert chosen("other", "kaiming_normal", "lsuv") == 2
    assert capsys.readouterr().err.endswith("holds another choice; write to a new file\n")
    assert out.read_bytes() == first
    assert (Choice.read(out).chosen, Choice.read(out).seeds) == ("orthogonal", [0, 1, 2])
    assert Choice.read(out).judges == list(JUDGES)


def test_a_study_that_is_not_there_is_one_line(tmp_path, capsys):
    options = ["--results-dir", str(tmp_path), "--out", str(tmp_path / "chosen.yaml")]
    assert choose_scheme.main(["absent", *options]) == 2
    assert capsys.readouterr().err.startswith("choose_scheme.py: ")
    assert not (tmp_path / "chosen.yaml").exists()


@pytest.mark.parametrize("name", JUDGES)
def test_no_seed_of_the_choice_or_of_a_fit_judges_it(name):
    seen = {*settings("custom-screen")["seeds"], *settings("scale-sweep")["seeds"], 3, 4}
    assert len(settings(name)["seeds"]) >= 8
    assert not seen & set(settings(name)["seeds"])


@pytest.mark.parametrize("name", JUDGES)
def test_what_is_judged_is_what_was_chosen(name):
    """But for the file that it was fitted in, as other networks need others."""
    inits = [without_file(init) for init in settings(name)["inits"]]
    choice = Choice.read(CHOSEN)
    assert inits == [without_file(choice.standard), without_file(choice.chosen)]


def without_file(init):
    name, arguments, options = parse_spec(canonical(init, "init"), "init")
    return name, len(arguments), options


def test_at_least_seven_methods_are_compared():
    assert len(settings("methods")["variants"]) >= 7
