"""Names for functions: the one way in which schemes, networks, criteria and data sets are found.

A *spec* is a name, or a name with options: `xavier_normal`, `normal(0.1)`,
`kaiming_normal(gain=1, mode=fan_out)`. An option's value is a word, a number, true or false, a
quoted text, a length of training (`soft(every=1ep)`), or a spec itself:
`by_layer(first=xavier_normal(gain=2), rest=xavier_normal)`. Instead
of a registered name a spec may hold a reference to one's own function:
`my_package.my_module:my_function(option=3)`.
"""

import ast
import functools
import importlib
import inspect
import keyword
import re
from collections.abc import Callable, Iterator
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

from lottery.errors import ConfigError

F = TypeVar("F", bound=Callable[..., Any])

WORDS = {"true": True, "false": False}
"""Words that are no strings, as in YAML; Python's own names for them are known too."""

_LENGTH = r"\d+(?:ep|it)"
_NAME = r"[^\W\d]\w*"
_REFERENCE = rf"{_NAME}(?:\.{_NAME})*:{_NAME}"
_TEXT = r"""("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
_TEXT_OR_NO_PYTHON = re.compile(rf"{_TEXT}|\b({_LENGTH}|{_REFERENCE})\b")


def parse_spec(spec: str, what: str = "spec") -> tuple[str, list[Any], dict[str, Any]]:
    """Split a spec into name, positional and keyword options.

    >>> parse_spec("kaiming_normal(gain=1, mode=fan_out)")
    ('kaiming_normal', [], {'gain': 1, 'mode': 'fan_out'})
    """
    name, bracket, rest = spec.strip().partition("(")
    if not bracket:
        return name, [], {}
    # A length such as 5ep and a reference are words, but no Python: in quotes they are.
    rest = _TEXT_OR_NO_PYTHON.sub(lambda found: found[1] or repr(found[2]), rest)
    try:
        call = ast.parse(f"_({rest}", mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise ValueError
        args, kwargs = _options(call)
    except (SyntaxError, ValueError):
        allowed = "a name, or name(option=value, ...), file names and other texts in quotes"
        if spec.count("(") > spec.count(")"):
            allowed += "; in a YAML list one with commas is quoted as a whole"
        raise ConfigError(what, spec, allowed) from None
    return name.strip(), args, kwargs


def canonical(spec: str, what: str = "spec") -> str:
    """The one way to write a spec, so that spaces and order make no difference.

    >>> canonical("kaiming_normal( mode=fan_out, gain=1 )")
    'kaiming_normal(gain=1, mode=fan_out)'
    """
    return _spec(*parse_spec(spec, what))


def _spec(name: str, args: list[Any], kwargs: dict[str, Any]) -> str:
    parts = [_written(value) for value in args]
    parts += [f"{key}={_written(value)}" for key, value in sorted(kwargs.items())]
    return f"{name}({', '.join(parts)})" if parts else name


def _written(value: Any) -> str:
    return value if isinstance(value, str) and (_is_word(value) or _is_spec(value)) else repr(value)


def _is_word(text: str) -> bool:
    if re.fullmatch(_LENGTH, text):
        return True
    return text.isidentifier() and not keyword.iskeyword(text) and text not in WORDS


def _is_spec(text: str) -> bool:
    """Whether it is a name with options, written as it would be read within another spec."""
    name, bracket, _ = text.partition("(")
    try:
        return bool(bracket) and _is_word(name) and canonical(text) == text
    except ConfigError:
        return False


def _options(call: ast.Call) -> tuple[list[Any], dict[str, Any]]:
    names = [keyword.arg for keyword in call.keywords]
    if None in names or len(set(names)) < len(names):
        raise ValueError
    args = [_literal(node) for node in call.args]
    return args, {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}


def _literal(node: ast.expr) -> Any:
    """A bare word counts as a string, as in mode=fan_out; so does a spec within a spec."""
    if isinstance(node, ast.Name):
        return WORDS.get(node.id, node.id)
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name):
            return _spec(node.func.id, *_options(node))
        reference = ast.literal_eval(node.func)
        if not (isinstance(reference, str) and re.fullmatch(_REFERENCE, reference)):
            raise ValueError
        return _spec(reference, *_options(node))
    return ast.literal_eval(node)


def _in_place_of_words(function: Callable[..., Any], option: str) -> str | None:
    """What an option takes that is annotated as a number or as true or false, None apart."""
    try:
        hint = get_type_hints(function).get(option)
    except Exception:  # an annotation of one's own may name what is not there
        return None
    kinds = set(get_args(hint) or (hint,)) - {NoneType}
    if kinds == {bool}:
        return "true, false"
    return "a number" if kinds and kinds <= {int, float} else None


class Registry:
    """Functions of one kind by name; their first `leading` arguments are no options.

    A class goes by its name in lower case. A function that takes another number of such arguments
    has it as an attribute of that name.

    >>> colours = Registry("colour")
    >>> @colours.register
    ... def red(shade: int = 0) -> int:
    ...     return shade
    >>> colours.resolve("red(shade=3)")()
    3
    """

    def __init__(self, kind: str, leading: int = 0) -> None:
        self.kind = kind
        self.leading = leading
        self._functions: dict[str, Callable[..., Any]] = {}

    def register(self, function: F) -> F:
        """Make `function` known under its own name; usable as a decorator."""
        name = function.__name__.lower() if isinstance(function, type) else function.__name__
        if name in self._functions:
            raise ConfigError(self.kind, name, "a name that is not taken")
        self._functions[name] = function
        return function

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._functions))

    def resolve(self, spec: str | Callable[..., Any]) -> Callable[..., Any]:
        """The function a spec names, with the spec's options bound; a function is its own spec."""
        if callable(spec):
            return spec
        name, args, kwargs = parse_spec(spec, self.kind)
        function = self._import(name) if ":" in name else self._functions.get(name)
        if function is None:
            raise ConfigError(self.kind, spec, f"{', '.join(self)}, or module:function")
        self._check_options(spec, function)
        if not args and not kwargs:
            return function

        @functools.wraps(function)
        def with_options(*leading: Any, **more: Any) -> Any:
            return function(*leading, *args, **kwargs, **more)

        return with_options

    def _check_options(self, spec: str, function: Callable[..., Any]) -> None:
        """Refuse options that the function has not or lacks, and words in place of others."""
        name, args, kwargs = parse_spec(spec, self.kind)
        leading = getattr(function, "leading", self.leading)
        signature = inspect.signature(function).parameters
        parameters = dict(list(signature.items())[leading:])
        unknown = sorted(set(kwargs) - set(parameters))
        if unknown:
            allowed = ", ".join(parameters) or "none"
            raise ConfigError(f"{self.kind} {name}'s option", ", ".join(unknown), allowed)
        kinds = inspect.Parameter
        in_order = [name for name, p in parameters.items() if p.kind != kinds.KEYWORD_ONLY]
        given = dict(zip(in_order, args, strict=False))
        any_number = any(p.kind == kinds.VAR_POSITIONAL for p in signature.values())
        if given.keys() & kwargs.keys() or (len(args) > len(in_order) and not any_number):
            once = f"{name} with each option once, of {', '.join(parameters)}"
            allowed = once if parameters else f"{name}, which has no options"
            raise ConfigError(self.kind, spec, allowed)
        given |= kwargs
        for option, parameter in parameters.items():
            several = parameter.kind in (kinds.VAR_POSITIONAL, kinds.VAR_KEYWORD)
            if parameter.default is parameter.empty and not several and option not in given:
                allowed = f"{name}({option}=...): option {option} is missing"
                raise ConfigError(self.kind, spec, allowed)
        for option, value in given.items():
            wanted = _in_place_of_words(function, option)
            if wanted and isinstance(value, str):
                raise ConfigError(f"{self.kind} {name}'s option {option}", value, wanted)

    def _import(self, reference: str) -> Callable[..., Any]:
        module, _, attribute = reference.partition(":")
        try:
            function = getattr(importlib.import_module(module), attribute)
            if not callable(function):
                raise TypeError(f"{attribute} is no function")
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            raise ConfigError(
                self.kind, reference, f"an importable module:function ({error})"
            ) from error
        return function
