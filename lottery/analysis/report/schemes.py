"""A study's initialisation schemes: what they draw from, and how widely."""

from contextlib import suppress

import numpy as np
import pandas as pd

from lottery.analysis.figures.style import scheme_name
from lottery.analysis.report.document import listed, table
from lottery.analysis.report.study import Study
from lottery.analysis.sizes import only_weights
from lottery.errors import LotteryError
from lottery.init import SCHEMES
from lottery.init.ticket_informed import load_fit
from lottery.registry import parse_spec


def schemes(study: Study) -> str:
    """Formula of each scheme, and the standard deviation that its initial weights have."""
    start = only_weights(study.layers)
    start = start[(start["level"] == 0) & (start["branch"] == "ticket")]
    names = list(dict.fromkeys(start["layer"]))
    deviations = {
        (init, layer): _deviation(rows) for (init, layer), rows in start.groupby(["init", "layer"])
    }
    rows = [
        [scheme_name(init), _formula(init), *(f"{deviations[init, layer]:.3g}" for layer in names)]
        for init in study.inits
        if any(key[0] == init for key in deviations)
    ]
    header = [
        "Scheme",
        "Weights are drawn from",
        *(f"σ of `{n.removesuffix('.weight')}`" for n in names),
    ]
    return (
        "Schemes, and the standard deviation σ of the initial weights in each layer, pooled over "
        "seeds. It is computed from the 64 bins of `initial_histogram` in `layers.parquet` at "
        "level 0, with Sheppard's correction for the width of a bin. Biases start at zero.\n\n"
        + table(header, rows, aligned="ll" + "r" * len(names))
        + "".join(f"\n\n{text}" for text in map(_fitted, study.inits) if text)
    )


def _formula(init: str) -> str:
    """First line of the scheme's own documentation, if it is one that can be found here."""
    try:
        documentation = SCHEMES.resolve(init).__doc__ or ""
    except LotteryError:
        documentation = ""
    return documentation.strip().partition("\n")[0] or "a scheme of the study's own"


def _fitted(init: str) -> str:
    """Which tickets a scheme was fitted to; empty for others, or without its file."""
    name, args, options = parse_spec(init, "init")
    file = args[0] if args else options.get("file")
    if name != "ticket_informed" or file is None:
        return ""
    with suppress(LotteryError, KeyError):
        fit = load_fit(file)
        source, seeds = fit.source, listed(map(str, fit.seeds))
        return (
            f"*{scheme_name(init)}*: `{file}` was fitted to the {source['values']} values of the "
            f"weights that the tickets of `{source['study']}` ({scheme_name(source['init'])}, "
            f"`{source['model']}`, seeds {seeds}) keep at level {source['level']}. What its name "
            "negates is as in its base, "
            f"{scheme_name(options.get('base', 'xavier_normal'))}."
        )
    return ""


def _deviation(rows: pd.DataFrame) -> float:
    """Standard deviation of values counted in bins (Sheppard 1898: less width² / 12)."""
    moments = np.zeros(3)
    correction = 0.0
    for span, counts in zip(rows["span"], rows["initial_histogram"], strict=True):
        edges = np.linspace(-span, span, len(counts) + 1)
        middle = (edges[1:] + edges[:-1]) / 2
        moments += [np.dot(counts, middle**k) for k in range(3)]
        correction += sum(counts) * (edges[1] - edges[0]) ** 2 / 12
    total, first, second = moments
    return float(np.sqrt(max(0.0, (second - correction) / total - (first / total) ** 2)))
