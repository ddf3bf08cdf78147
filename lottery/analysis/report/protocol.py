"""What a study did: its protocol and its networks."""

from collections.abc import Iterable, Iterator
from typing import Any

from lottery.analysis import frames
from lottery.analysis.figures.style import branch_look, scheme_name
from lottery.analysis.report.detector_protocol import detecting, stopping
from lottery.analysis.report.document import listed, table
from lottery.analysis.report.study import Study
from lottery.analysis.sizes import PARAMETERS, only_weights
from lottery.words import plural


def protocol(study: Study) -> str:
    """The settings of `study.yaml` in the words of the field."""
    config = study.config
    if not config:
        return "There is no `study.yaml` beside the tables, so the protocol is not known."
    train, prune, rewind = (config.get(group) or {} for group in ("train", "prune", "rewind"))
    seeds = sorted(set(study.levels["seed"]))
    tickets = study.levels[study.levels["branch"] == "ticket"]
    furthest = int((study.levels if tickets.empty else tickets)["level"].max())
    rows = [
        ["Network", f"`{config['model']}`"],
        [
            "Data",
            f"`{config['data']}`, pixels in [0, 1]; {_validation(study)}; test accuracy decides "
            "nothing",
        ],
        *detecting(study),
        [
            "Seeds",
            f"{_ranges(seeds)} (n = {len(seeds)}); schemes under one seed share the data split "
            "and the order of batches, so comparisons between them are paired",
        ],
        ["Training of a level", _training(train, study)],
        [
            "Evaluation",
            f"every {_length(train['eval_every'])} and at a level's "
            f"{'start and end' if train.get('eval_start') else 'end'}; early stopping is "
            "read off afterwards, at the least validation loss",
        ],
        [
            "Levels",
            f"0 (unpruned) to {furthest}"
            f"{' where a ticket goes furthest' if study.ends_early else ''}, "
            f"{100 * study.levels['weights_remaining'].min():.3g} % {study.left} at the last",
        ],
        ["Pruning between levels", _pruning(prune, set(study.layers["kind"]), study.left)],
        *_in_training(prune),
        *stopping(prune),
        ["After pruning", _rewinding(rewind)],
        ["Beside the tickets", _controls(study)],
    ]
    if len(study.variants) > 1:
        rows.append(
            [
                "Variants",
                "; ".join(f"`{name}` ({_settings(config, name)})" for name in study.variants),
            ]
        )
    return table(["", "Setting"], rows)


def _validation(study: Study) -> str:
    """Whose validation images there are, by the manifest's hashes of the data set's arrays."""
    detecting = study.detecting
    by_class = study.config.get("stratified") and not detecting  # an image's boxes are of many
    drawn = (
        f"{study.config['validation']:,} training images held out for validation, "
        f"{'the same share of every class' if by_class else 'without regard to class'}, drawn by "
        "the seed"
    )
    own = "validation images are those of the data set, the same for every seed"
    known = [set(run["data_sha256"]) for run in study.runs if run.get("data_sha256")]
    if known:
        return own if "val_images" in known[-1] else drawn
    return f"{own}, or, if it has none, {drawn}" if detecting else drawn


AUGMENTED = {
    "none": "",
    "flip_shift": ", images mirrored and moved at random",
    "jitter": ", images and boxes cropped, stretched and recoloured at random",
    "jitter_flip": ", images and boxes cropped, stretched, mirrored and recoloured at random",
}
"""What `train.augmentation` does."""


def _training(train: dict[str, Any], study: Study) -> str:
    trained = study.levels if study.trained.empty else study.trained
    steps = sorted(set(trained["steps"]))
    counted = f"{listed(f'{n:,}' for n in steps)} steps"
    images = f"of {train['batch_size']} images"
    length = _length(train["duration"])
    text = f"{length} {images}" if length == counted else f"{length} ({counted} {images})"
    name = {"adam": "Adam", "sgd": "SGD"}.get(train["optimizer"], train["optimizer"])
    text += f", {name} at learning rate {train['lr']:g}"
    if train.get("momentum"):
        kind = "Nesterov " if train.get("nesterov") else ""
        text += f", {kind}momentum {train['momentum']:g}"
    if train.get("weight_decay"):
        text += f", weight decay {train['weight_decay']:g}"
    if train["lr_schedule"] != "constant":
        text += f", {train['lr_schedule']} schedule"
    if train.get("warmup", "0it") != "0it":
        text += f", warm-up over {_length(train['warmup'])}"
    if train.get("clip_norm") is not None:
        text += f", gradients clipped to a norm of {train['clip_norm']:g}"
    text += AUGMENTED[train.get("augmentation", "none")]
    if train.get("sizes"):
        text += f", images resized to {_ranges(train['sizes'])} pixels by turns"
    if train.get("precision", "float32") != "float32":
        text += f", in {train['precision']}"
    return text


def _in_training(prune: dict[str, Any]) -> list[list[str]]:
    """A row for the procedure that changes networks in training, if there is one."""
    during = prune.get("during", "none")
    return [] if during == "none" else [["In training", f"`{during}`"]]


def _pruning(prune: dict[str, Any], kinds: set[str], left: str) -> str:
    """left: what `Study.left` says is counted."""
    filters = left == PARAMETERS
    if filters:
        kinds = kinds - {"output"}
    linear, output = prune["linear_rate"], prune["output_rate"]
    rates = {
        "conv": (prune["conv_rate"], "convolutions"),
        "linear": (linear, "linear layers"),
        "output": (linear / 2 if output is None else output, "the output layer"),
    }
    shares = listed(
        f"{100 * rate:g} % in {where}" for kind, (rate, where) in rates.items() if kind in kinds
    )
    where = "within each layer" if prune["scope"] == "layer" else "over all layers together"
    if prune.get("allocation", "rates") != "rates":
        where += f", whose shares of the total are {prune['allocation'].replace('_', ' ')}"
    if prune.get("iterations", 1) > 1:
        where += f", in {prune['iterations']} rankings per level"
    what = f"of the {'filters' if filters else 'weights'} that remain"
    if prune.get("at") == "initial":
        what += ", but all at once in the untrained network"
    elif not prune.get("iterative", True):
        what += ", but all at once in the trained network of level 0"
    biases = f"biases {'too' if prune.get('biases') else 'never'}"
    if filters:
        biases = "with their biases, batch norm and what reads them; the output layer keeps all"
    return f"by {prune['criterion'].replace('_', ' ')}, {where}: {shares} {what}; {biases}"


RESCALED = {
    "none": "",
    "layer": ", divided by the square root of their layer's density",
    "unit": ", divided by the square root of the density of their unit's inputs",
    "isometry": ", moved towards equal singular values of their layer",
}
"""What `rewind.rescale` does to them."""


def _rewinding(rewind: dict[str, Any]) -> str:
    if rewind["mode"] == "learning_rate":
        to = f"goes back to {_length(rewind['to'])} after the start of level 0"
        if rewind["to"] in ("0it", "0ep"):  # level 0 may have had another schedule
            to = "begins anew"
        return f"weights are kept, the schedule of the learning rate {to}"
    if rewind["mode"] != "weights":
        return {"none": "nothing is reset"}.get(rewind["mode"], f"rewind mode `{rewind['mode']}`")
    step = rewind["to"]
    if rewind.get("init"):
        goal = f"weights newly drawn once from {scheme_name(rewind['init'])}"
    elif step in ("0it", "0ep"):
        goal = "their own initial values"
    else:
        goal = f"their values after {_length(step)} of level 0"
    rescaled = RESCALED[rewind.get("rescale", "none")]  # older studies do not have it
    return f"weights that remain go back to {goal}{rescaled}; optimiser state {rewind['optimizer']}"


def _controls(study: Study) -> str:
    branches = study.levels[study.levels["branch"] != "ticket"]
    texts = []
    for branch, rows in branches.groupby("branch", sort=False):
        draws, levels = rows["draw"].nunique(), sorted(set(rows["level"]))
        many = f", {draws} draws" if draws > 1 else ""
        texts.append(
            f"{branch_look(str(branch))[0]} (`{branch}`{many}) at levels {_ranges(levels)}"
        )
    return "; ".join(texts) or "nothing: neither an unpruned baseline trained on, nor controls"


def _settings(config: dict[str, Any], variant: str) -> str:
    """What a variant sets differently, with the values that defaults stand for."""
    rate = frames.settings(config, variant, "prune").get("linear_rate", 0.0)
    defaults = {
        "prune.output_rate": f"{rate / 2:g} as half of linear_rate",
        "rewind.init": "none but each scheme's own",
    }
    parts = []
    for name, value in _flat((config.get("variants") or {}).get(variant) or {}):
        words: dict[Any, str] = {None: defaults.get(name, "none"), True: "yes", False: "no"}
        known = value is None or isinstance(value, bool)
        parts.append(f"{name}: {words[value] if known else value}")
    return ", ".join(parts) or "the settings above"


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted names."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _length(length: str) -> str:
    """A length of the configuration in words: "5ep" is 5 epochs."""
    return plural(int(length[:-2]), "epoch" if length.endswith("ep") else "step")


def _ranges(numbers: Iterable[int]) -> str:
    """Whole numbers with runs drawn together: 0–4, 7."""
    parts: list[list[int]] = []
    for value in sorted(numbers):
        if parts and value == parts[-1][-1] + 1:
            parts[-1].append(value)
        else:
            parts.append([value])
    return ", ".join(f"{p[0]}–{p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts)


def networks(study: Study) -> str:
    """Layers and their weights, and how many are left at the last level."""
    layers = study.layers[study.layers["variant"] == study.variants[0]]
    layers = layers if len(layers) else study.layers
    tickets = layers[layers["branch"] == "ticket"]
    tickets = tickets if len(tickets) else layers
    first, last = (tickets[tickets["level"] == f(tickets["level"])] for f in (min, max))
    left = last.groupby("layer", sort=False)["remaining"].mean()
    shapes = first.drop_duplicates("layer").set_index("layer")
    rows = [
        [f"`{name}`", row.kind, f"{row.weights // row.outputs:,}", f"{row.outputs:,}",
         f"{row.weights:,}", f"{left[name]:,.0f}"]
        for name, row in shapes.iterrows()
    ]  # fmt: skip
    rows.append(["all", "", "", "", f"{shapes['weights'].sum():,}", f"{left.sum():,.0f}"])
    what = "weights" if len(only_weights(first)) == len(first) else "parameters"
    of_variant = f" of variant `{study.variants[0]}`" if len(study.variants) > 1 else ""
    models = listed(f"`{model}`" for model in sorted(set(study.first_variant()["model"])))
    header = [
        "Layer",
        "Kind",
        "Inputs of a unit",
        "Units",
        what.capitalize(),
        f"Kept at level {last['level'].max()}",
    ]
    return (
        f"{models}{of_variant}: prunable {what}, from `layers.parquet`. *Inputs of a unit* is its "
        "fan-in, in a convolution channels times kernel area; the last column is a mean over "
        "schemes and seeds.\n\n" + table(header, rows, aligned="llrrrr")
    )
