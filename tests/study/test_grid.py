import re
from dataclasses import replace

from lottery.pruning.schedule import PruneConfig
from lottery.study import ClusterConfig, ControlsConfig, StudyConfig, cells, grid
from tests import tiny


def names(config):
    return [cell.name for cell in cells(config)]


def by_label(config):
    return {cell.label: cell.name for cell in cells(config)}


def test_names_stay_what_they_have_always_been():
    """Stored results are found by these names: a change loses every result ever made."""
    config = StudyConfig(inits=["xavier_normal"], seeds=[0], controls=ControlsConfig(dense=True))
    assert names(config) == [
        "xavier_normal-s0-ticket-7e6fc57e",
        "xavier_normal-s0-dense-d72aa435",
    ]
    config = StudyConfig(
        model="conv6(width=0.25)",
        data="cifar10",
        inits=["kaiming_normal(gain=1, mode=fan_out)"],
        seeds=[7],
        prune=PruneConfig(conv_rate=0.15),
        controls=ControlsConfig(dense=True, reinit=2),
    )
    assert names(config) == [
        "kaiming_normal_gain_1_mode_fan_out-s7-ticket-5584ef96",
        "kaiming_normal_gain_1_mode_fan_out-s7-dense-b5ab3e2f",
        "kaiming_normal_gain_1_mode_fan_out-s7-reinit-0-a1726b6f",
        "kaiming_normal_gain_1_mode_fan_out-s7-reinit-1-1332b069",
    ]


def test_every_variant_spans_the_grid_and_its_name_does_not_enter_those_of_cells():
    half = {"prune": {"output_rate": 0.1}}
    several = cells(tiny.with_controls(variants={"base": {}, "half": half}))
    plain = cells(tiny.with_controls())
    assert [c for c in several if c.variant == "base"] == plain
    changed = tiny.with_controls(prune=PruneConfig(output_rate=0.1))
    assert [c.name for c in several if c.variant == "half"] == names(changed)
    needed = {c.name: c.variant for c in several}
    assert all(needed[c.needs] == c.variant for c in several if c.needs)
    assert any(c.label.startswith("half: xavier_normal seed 0") for c in several)


def test_every_scheme_seed_and_branch_is_one_cell():
    config = tiny.with_controls(
        controls=ControlsConfig(dense=True, reinit=2, shuffle_layer=1, levels=[2])
    )
    found = cells(config)
    expected = {
        (init, seed, branch, draw)
        for init in config.inits
        for seed in config.seeds
        for branch, draw in [
            ("ticket", 0),
            ("dense", 0),
            ("reinit", 0),
            ("reinit", 1),
            ("shuffle_layer", 0),
        ]
    }
    assert {(c.init, c.seed, c.branch, c.draw) for c in found} == expected
    assert len(found) == len(expected) == len({cell.name for cell in found})
    levels = {cell.branch: cell.levels for cell in found}
    assert levels["ticket"] == levels["dense"] == (0, 1, 2)
    assert levels["reinit"] == levels["shuffle_layer"] == (2,)


def test_controls_start_at_level_1_and_need_the_ticket_of_their_own_scheme_and_seed():
    found = cells(tiny.with_controls())
    tickets = {(c.init, c.seed): c.name for c in found if c.branch == "ticket"}
    for cell in found:
        if cell.branch == "reinit":
            assert cell.needs == tickets[cell.init, cell.seed]
            assert cell.levels == (1, 2)
        else:
            assert cell.needs is None


def test_tickets_come_before_the_controls_that_wait_for_them():
    branches = [cell.branch for cell in cells(tiny.with_controls())]
    assert "ticket" not in branches[branches.index("reinit") :]


def test_controls_are_where_tickets_are():
    """A study whose levels are cut for now, as by --levels, keeps its settings."""
    controls = ControlsConfig(reinit=1, levels=[1, 2])
    full, cut, none = (tiny.config(levels=n, controls=controls) for n in (2, 1, 0))
    assert {c.levels for c in cells(full) if c.branch == "reinit"} == {(1, 2)}
    assert {c.levels for c in cells(cut) if c.branch == "reinit"} == {(1,)}
    assert {c.branch for c in cells(none)} == {"ticket"}
    assert names(cut) == names(full), "what is trained now would be trained again"


def test_without_pruning_there_is_nothing_to_control():
    config = tiny.with_controls(levels=0)
    assert {cell.branch for cell in cells(config)} == {"ticket", "dense"}


def test_long_schemes_make_names_that_a_file_system_takes():
    inits = [f"by_layer(rest='{'x' * 300}:{end}')" for end in "ab"]
    found = [grid._name(tiny.config(), init, 0, "ticket", 0) for init in inits]
    assert found[0] != found[1]
    assert all(len(name) < 200 for name in found)


def test_the_lists_of_the_grid_do_not_enter_the_names_of_its_cells():
    few = tiny.with_controls(inits=["xavier_normal"], seeds=[1], levels=1)
    many = tiny.with_controls(name="other", controls=ControlsConfig(dense=True, reinit=3))
    assert set(names(few)) < set(names(many))


def test_the_engine_does_not_enter_the_names_as_all_give_the_same_numbers():
    assert names(tiny.config(engine="reference")) == names(tiny.config(engine="auto"))


def test_what_cells_take_of_a_cluster_does_not_enter_the_names():
    cluster = ClusterConfig(cpus=4, gpus=0.5, retries=0)
    assert names(tiny.config(cluster=cluster)) == names(tiny.config())


def test_every_setting_that_decides_numbers_enters_the_names():
    base = set(names(tiny.config()))
    for changed in (
        tiny.config(train=tiny.train(lr=0.02)),
        tiny.config(train=tiny.train(eval_every="9it")),
        tiny.config(validation=51),
        tiny.config(stratified=False),
        tiny.config(model="tests.tiny:net(hidden=13)"),
        tiny.config(data="tests.tiny:images(test=91)"),
        tiny.config(prune=PruneConfig(output_rate=0.2)),
        tiny.config(seeds=[2, 3]),
    ):
        assert not base & set(names(changed))


def test_the_dense_baseline_is_the_same_whatever_is_pruned():
    config = tiny.with_controls()
    other = replace(config, prune=PruneConfig(linear_rate=0.5))
    for label, name in by_label(config).items():
        assert (by_label(other)[label] == name) == ("dense" in label)


def test_a_new_setting_with_a_neutral_default_keeps_the_names(monkeypatch):
    before = names(tiny.with_controls())
    settings, defaults = grid.shared_settings, grid._defaults

    def more(config):
        values = settings(config)
        return values | {"train": values["train"] | {"new": 0}, "newer": None, "group": {"a": 1}}

    def more_defaults():
        values = defaults()
        return values | {"train": values["train"] | {"new": 0}, "newer": None, "group": {"a": 1}}

    monkeypatch.setattr(grid, "shared_settings", more)
    monkeypatch.setattr(grid, "_defaults", more_defaults)
    assert names(tiny.with_controls()) == before


def test_names_are_readable_and_safe_as_folders():
    config = tiny.config(inits=["kaiming_normal(gain=1, mode=fan_out)", "tests.tiny:broken"])
    for name in names(config):
        assert re.fullmatch(r"[\w.]+-s\d-ticket-[0-9a-f]{8}", name)
    assert names(config)[0].startswith("kaiming_normal_gain_1_mode_fan_out-s0-ticket-")


def test_schemes_that_read_alike_have_cells_of_their_own():
    config = tiny.config(inits=["normal(0.1)", "normal(std=0.1)", "normal(0.10001)"], seeds=[0])
    assert len(set(names(config))) == 3


def test_labels_name_the_draw_of_controls_alone():
    labels = list(by_label(tiny.with_controls(inits=["xavier_normal"], seeds=[0])))
    assert labels == [
        "xavier_normal seed 0 ticket",
        "xavier_normal seed 0 dense",
        "xavier_normal seed 0 reinit 0",
    ]
