"""The figures of a study with their captions."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from lottery.analysis.detectors import ALLOWED
from lottery.analysis.figures.style import file_name, scheme_name, variant_name

_CAPTIONS = {
    "accuracy_by_parameters": "Test accuracy at the end of each level against the share of "
    "parameters that is gone when pruned filters are removed.",
    "accuracy_by_macs": "The same against the share of multiply-accumulates.",
    "reduction": "Validation loss in training, and how much of the network is gone by then. Each "
    "tooth is an action of the procedure.",
    "influence": "What the length of training E, the threshold P and the interval I do to accuracy "
    "and reduction: coefficients of the model with all products.",
    "detections": "Objects in the same test pictures: those that are there, those that the "
    "unpruned detector finds, and those that pruned detectors find at the furthest level within "
    f"{100 * ALLOWED:g} points of accuracy on validation pictures.",
    "precision_recall": "Precision against recall by class, unpruned and at the furthest level "
    f"within {100 * ALLOWED:g} points of accuracy on validation pictures.",
    "layer_widths": "Filters and neurons in each layer, all and those kept.",
    "accuracy_by_variant": "Test accuracy at the end of each level against what is left, a "
    "panel per variant of the protocol.",
    "variant_differences": "Each variant less the first at the same level, paired by scheme and "
    "seed.",
    "accuracy_by_weights": "Test accuracy at the end of each level against what is left. "
    "Dashed: the unpruned network after one level; dotted, where there is one: the unpruned "
    "network trained on.",
    "controls_by_weights": "Tickets and their controls where as much is left, on a scale "
    "spaced by the logarithm of the error.",
    "early_stop_by_weights": "Step of least validation loss within each level: the lower, the "
    "faster the network learns.",
    "accuracy_before_prunes": "Test accuracy at the last evaluation before each prune, against "
    "training steps of all levels together.",
    "accuracy_over_steps": "Test accuracy at every evaluation. Each tooth is a level: train, "
    "prune and, with rewinding, go back to earlier weights.",
    "robustness_by_width": "Robustness against the standard deviation σ of initial weights, over "
    "that of Xavier's, on a logarithmic axis: area between the accuracy-sparsity curve and the "
    "unpruned network, and accuracy at a low density. A line per shape of the distribution.",
    "scheme_by_method": "What each scheme gains in area over a standard one, paired by seed, under "
    "each variant of the protocol.",
    "mechanism": "Whether the order of magnitudes that initialisation gave is kept, and how far "
    "weights travel for their size, against robustness; a point per ticket.",
    "diagnostics_by_weights": "What was recorded of the tickets at each level.",
    "density_by_layer": "Weights remaining in each layer against weights remaining in all.",
    "first_layer_masks": "Where the first layer keeps its weights: share of kept weights at each "
    "input pixel.",
}
_LAYERS = ("density_by_layer", "first_layer_masks", "weight_distributions_")
"""Figures that are folded away, as they are many and answer no question of the report."""
_DISTRIBUTIONS = "weight_distributions_"
_OF_VARIANTS = ("diagnostics_by_weights", "controls_by_weights", "precision_recall")
"""Figures that a study with variants has of each."""


def figures(paths: Iterable[Path], folder: Path, inits: Iterable[str]) -> str:
    """Every PNG of `paths` with its caption, those first that `_CAPTIONS` lists first.

    folder: where the report lies, from which figures are addressed. inits: the study's schemes.
    """
    order = list(_CAPTIONS)
    schemes = {file_name(init): scheme_name(init) for init in inits}

    def place(path: Path) -> int:
        return order.index(path.stem) if path.stem in order else len(order)

    images = sorted((path for path in paths if path.suffix == ".png"), key=place)
    main, layers = list[str](), list[str]()
    for path in images:
        image = f"![{_caption(path.stem, schemes)}]({_relative(path, folder)})"
        (layers if path.stem.startswith(_LAYERS) else main).append(image)
    if layers:
        text = "\n\n".join(layers)
        main.append(f"<details>\n<summary>Layers and weights</summary>\n\n{text}\n\n</details>")
    return "\n\n".join(main)


def _caption(stem: str, schemes: Mapping[str, str]) -> str:
    if stem.startswith(_DISTRIBUTIONS):
        name = stem.removeprefix(_DISTRIBUTIONS)
        scheme = schemes.get(name, name.replace("_", " "))
        return f"Kept weights before and after training, by layer and level: {scheme}."
    for kind in _OF_VARIANTS:
        if stem.startswith(f"{kind}_"):
            variant = variant_name(stem.removeprefix(f"{kind}_"))
            return f"{_CAPTIONS[kind][:-1]}: variant {variant}."
    return _CAPTIONS.get(stem, f"{stem.replace('_', ' ').capitalize()}.")


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
