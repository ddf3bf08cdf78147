"""Specs are read as written, and every mistake in one is the user's to see in one line."""

import dataclasses
import math

import pytest
import yaml

from lottery.errors import ConfigError
from lottery.registry import Registry, canonical, parse_spec


def scaled(value: float, factor: float = 1.0, mode: str = "plain") -> tuple[float, str]:
    return value * factor, mode


NOT_A_FUNCTION = 3


@pytest.fixture
def shapes() -> Registry:
    registry: Registry = Registry("shape", leading=1)
    registry.register(scaled)
    return registry


@pytest.mark.parametrize(
    ("spec", "parsed"),
    [
        ("plain", ("plain", [], {})),
        ("  plain ", ("plain", [], {})),
        ("plain()", ("plain", [], {})),
        ("normal(0.1)", ("normal", [0.1], {})),
        ("normal(-1e-3)", ("normal", [-1e-3], {})),
        ("k(gain=1, mode=fan_out)", ("k", [], {"gain": 1, "mode": "fan_out"})),
        ("k(2,mode='fan_in')", ("k", [2], {"mode": "fan_in"})),
        ("k (2)", ("k", [2], {})),
        ("k(on=True, off=None)", ("k", [], {"on": True, "off": None})),
        ("a.b:c(sizes=[1, (2, 3)])", ("a.b:c", [], {"sizes": [1, (2, 3)]})),
        ("k(text='a)b(')", ("k", [], {"text": "a)b("})),
        ("k(on=true, off=false)", ("k", [], {"on": True, "off": False})),
        ("k(f( 1 ,b=c), rest=g)", ("k", ["f(1, b=c)"], {"rest": "g"})),
        ("k(a=f(g(h=1)))", ("k", [], {"a": "f(g(h=1))"})),
        ("k(a=f())", ("k", [], {"a": "f"})),
        ("k(a='m:f(1)')", ("k", [], {"a": "m:f(1)"})),
        ("k(every=2ep, to=500it)", ("k", [], {"every": "2ep", "to": "500it"})),
        ("k('a 2ep b', c=f(every= 1ep))", ("k", ["a 2ep b"], {"c": "f(every=1ep)"})),
        ("k(m:f)", ("k", ["m:f"], {})),
        ("k(a=m.n:f( 1 ,b=c), b=m:g)", ("k", [], {"a": "m.n:f(1, b=c)", "b": "m:g"})),
        ("k(a=f(m:g(h=2)))", ("k", [], {"a": "f('m:g(h=2)')"})),
        ("k(a='of m:f', b='x/y.json')", ("k", [], {"a": "of m:f", "b": "x/y.json"})),
    ],
)
def test_a_spec_is_read_as_written(spec, parsed):
    assert parse_spec(spec) == parsed


@pytest.mark.parametrize(
    "spec",
    [
        "normal(0.1",
        "normal(0.1))",
        "normal(0.1)(2)",
        "normal(0.1) + 1",
        "normal(0.1).x",
        "normal(**{'std': 1})",
        "normal(*[1])",
        "normal(std=)",
        "normal(std=1, std=2)",
        "normal(__import__('os').getpid())",
        "normal(1 if 2 else 3)",
        "normal(a.b)",
        "normal(a.b(1))",
        "normal(f(1)(2))",
        "normal(f(**{'a': 1}))",
        "normal(f(a.b))",
        "normal(f(1) + 1)",
        "normal('f'(1))",
        "normal(1(2))",
        "normal(/m:f)",
        "normal(m:f.g)",
        "normal(m:1)",
        "ticket_informed(f1.json)",
    ],
)
def test_what_is_not_a_spec_is_refused_and_never_run(spec):
    with pytest.raises(ConfigError) as error:
        parse_spec(spec, "init")
    allowed = "a name, or name(option=value, ...), file names and other texts in quotes"
    assert str(error.value).startswith(f"init is {spec!r}; allowed: {allowed}")


def test_a_spec_cut_at_a_comma_is_to_be_quoted_in_its_yaml_list():
    (cut, _) = yaml.safe_load("[m:f(a=1, b=2)]")
    with pytest.raises(ConfigError, match="in a YAML list one with commas is quoted as a whole"):
        parse_spec(cut)


def test_a_name_gives_the_function_itself_and_options_are_bound(shapes):
    assert shapes.resolve("scaled") is scaled
    assert shapes.resolve("scaled(factor=3)")(2) == (6, "plain")
    assert shapes.resolve("scaled(3, mode=loud)")(2) == (6, "loud")
    assert shapes.resolve("scaled(factor=3)")(2, mode="late") == (6, "late")


def test_one_resolved_spec_does_not_leak_into_the_next(shapes):
    tripled = shapes.resolve("scaled(factor=3)")
    shapes.resolve("scaled(factor=5)")
    assert tripled(2) == (6, "plain")
    assert shapes.resolve("scaled")(2) == (2, "plain")


def test_a_function_is_its_own_spec(shapes):
    assert shapes.resolve(math.sqrt) is math.sqrt


def test_a_reference_finds_a_users_function_with_options(shapes):
    assert shapes.resolve("math:sqrt") is math.sqrt
    assert shapes.resolve(f"{__name__}:scaled(factor=4)")(2) == (8, "plain")


def test_a_reference_within_a_spec_needs_no_quotes(shapes):
    for mode in (f"{__name__}:scaled(factor=4)", f"'{__name__}:scaled(factor=4)'"):
        _, mode = shapes.resolve(f"scaled(mode={mode})")(2)
        assert shapes.resolve(mode)(2) == (8, "plain")


def test_an_unknown_name_lists_the_known_ones(shapes):
    with pytest.raises(ConfigError, match=r"shape is 'round'; allowed: scaled, or module:function"):
        shapes.resolve("round")


def test_an_unknown_option_is_named_with_the_known_ones(shapes):
    with pytest.raises(ConfigError, match=r"shape scaled's option is 'faktor'.*factor, mode"):
        shapes.resolve("scaled(faktor=2)")


def sized(value: float, side: int, depth: "int | None" = None, *, name: str = "x") -> int:
    return side


def switched(value: float, on: bool = False) -> bool:
    return on


def odd(value: float, side: "NoSuchType", *more: int) -> int:  # noqa: F821
    return side


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("sized", "shape is 'sized'; allowed: sized(side=...): option side is missing"),
        ("sized(depth=2)", "shape is 'sized(depth=2)'; allowed: sized(side=...): option side is"),
        ("sized(side=a)", "shape sized's option side is 'a'; allowed: a number"),
        ("sized(a)", "shape sized's option side is 'a'; allowed: a number"),
        ("sized(1, depth='3')", "shape sized's option depth is '3'; allowed: a number"),
        ("scaled(factor=1ep)", "shape scaled's option factor is '1ep'; allowed: a number"),
        ("switched(on=maybe)", "shape switched's option on is 'maybe'; allowed: true, false"),
        ("switched(no)", "shape switched's option on is 'no'; allowed: true, false"),
        (
            "scaled(1, a, 3)",
            "shape is 'scaled(1, a, 3)'; allowed: scaled with each option once, of",
        ),
        ("scaled(1, factor=2)", "allowed: scaled with each option once, of factor, mode"),
        (f"{__name__}:odd", f"allowed: {__name__}:odd(side=...): option side is missing"),
    ],
)
def test_options_that_a_function_cannot_take_are_named(shapes, spec, message):
    shapes.register(sized)
    shapes.register(switched)
    with pytest.raises(ConfigError) as error:
        shapes.resolve(spec)
    assert message in str(error.value)


def test_annotations_refuse_no_more_than_words_in_place_of_others(shapes):
    shapes.register(sized)
    shapes.register(switched)
    for spec, on in (("switched(on=true)", True), ("switched(False)", False)):
        assert shapes.resolve(spec)(2) is on
    for spec in ("sized(1.5)", "sized(1, None)", "sized(1, depth=None, name=3)"):
        assert shapes.resolve(spec)(2)
    assert shapes.resolve(f"{__name__}:odd(a, 1, 2)")(2) == "a"


@pytest.mark.parametrize(
    "reference",
    [
        "no_such_module_anywhere:f",
        "math:no_such_function",
        ":f",
        "math:",
        "..relative:f",
        f"{__name__}:NOT_A_FUNCTION",
        "math:pi(2)",
    ],
)
def test_a_reference_that_leads_nowhere_is_named(shapes, reference):
    with pytest.raises(ConfigError, match="shape is '"):
        shapes.resolve(reference)


def test_a_name_is_given_once(shapes):
    with pytest.raises(ConfigError, match="shape is 'scaled'; allowed: a name that is not taken"):
        shapes.register(scaled)


def test_a_class_goes_by_its_name_in_lower_case():
    @dataclasses.dataclass
    class Square:
        side: str = "1ep"

    shapes: Registry = Registry("shape")
    shapes.register(Square)
    assert list(shapes) == ["square"]
    assert shapes.resolve("square(side=3ep)")() == Square("3ep")


def test_names_come_sorted(shapes):
    shapes.register(math.exp)
    assert list(shapes) == ["exp", "scaled"]


@pytest.mark.parametrize(
    "spec",
    ["kaiming_normal(gain=1,mode=fan_out)", "kaiming_normal( mode = fan_out, gain=1 )"],
)
def test_spaces_and_order_do_not_make_another_spec(spec):
    assert canonical(spec) == "kaiming_normal(gain=1, mode=fan_out)"
    name, args, options = parse_spec(spec)
    assert parse_spec(canonical(spec)) == (name, args, options)


@pytest.mark.parametrize(
    ("spec", "written"),
    [
        ("k(b=g, a='f(1)')", "k(a=f(1), b=g)"),
        ("k(a=f( y=2, x=g( 1 ) ))", "k(a=f(x=g(1), y=2))"),
        ("k(a='f( 1 )')", "k(a='f( 1 )')"),
        ("k(a='m.n:f(1)')", "k(a='m.n:f(1)')"),
        ("k(a=m.n:f(1), b=m:g)", "k(a='m.n:f(1)', b='m:g')"),
        ("m:k(a=m:f(b=m:g(c=m:h(1))))", r"""m:k(a='m:f(b="m:g(c=\'m:h(1)\')")')"""),
        ("k(a='true', b=true)", "k(a='true', b=True)"),
        ("k(a='None', b=None)", "k(a='None', b=None)"),
        ("k(a='results/x.json')", "k(a='results/x.json')"),
        ("k(b='2ep', a=1it)", "k(a=1it, b=2ep)"),
        ("k(a='in 2ep')", "k(a='in 2ep')"),
    ],
)
def test_a_spec_within_a_spec_is_written_in_one_way(spec, written):
    assert canonical(spec) == written
    assert parse_spec(canonical(spec)) == parse_spec(spec)
    assert canonical(written) == written


@pytest.mark.parametrize(
    "spec", ["f(g(1), a=h(x=y))", "f", "f(0.1)", "f('a b',c=-2)", "m.n:f(x=[1, 2])", "f(True)"]
)
def test_the_canonical_spec_means_the_same(spec):
    assert parse_spec(canonical(spec)) == parse_spec(spec)
