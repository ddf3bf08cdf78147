"""Columns of a study's tables and their types."""

TEXT, COUNT, FRACTION, MAYBE_COUNT, ANY = "str", "int64", "float64", "Int64", "object"

_CELL = {
    "study": TEXT,
    "cell": TEXT,
    "variant": TEXT,
    "init": TEXT,
    "seed": COUNT,
    "branch": TEXT,
    "draw": COUNT,
}

LEVELS = {
    "study": TEXT,
    "cell": TEXT,
    "model": TEXT,
    "variant": TEXT,
    "init": TEXT,
    "seed": COUNT,
    "branch": TEXT,
    "draw": COUNT,
    "level": COUNT,
    "weights_remaining": FRACTION,
    "test_accuracy": FRACTION,
    "val_accuracy": FRACTION,
    "train_accuracy": FRACTION,
    "test_loss": FRACTION,
    "val_loss": FRACTION,
    "train_loss": FRACTION,
    "early_stop_step": MAYBE_COUNT,
    "test_accuracy_at_early_stop": FRACTION,
    "val_accuracy_at_early_stop": FRACTION,
    "steps": COUNT,
    "seconds": FRACTION,
    "engine": TEXT,
    "device": TEXT,
}
SIZES = {"parameters": MAYBE_COUNT, "macs": MAYBE_COUNT}
"""Further columns of levels.csv in studies that prune whole filters."""
CURVES = _CELL | {
    "level": COUNT,
    "step": COUNT,
    "total_step": COUNT,
    "weights_remaining": FRACTION,
    "train_loss": FRACTION,
    "train_accuracy": FRACTION,
    "val_loss": FRACTION,
    "val_accuracy": FRACTION,
    "test_loss": FRACTION,
    "test_accuracy": FRACTION,
}
LAYERS = _CELL | {
    "level": COUNT,
    "layer": TEXT,
    "kind": TEXT,
    "weights": COUNT,
    "remaining": COUNT,
    "span": FRACTION,
    "initial_histogram": ANY,
    "final_histogram": ANY,
    "kept_inputs": ANY,
    "outputs": COUNT,
}
KEPT_OUTPUTS = {"kept_outputs": COUNT}
"""A further column of layers.parquet, which older tables lack."""

DIAGNOSTICS = _CELL | {
    "level": COUNT,
    "weights_remaining": FRACTION,
    "layer": TEXT,
    "quantity": TEXT,
    "value": FRACTION,
}

OF_DETECTORS = ("detectors.csv", "precision_recall.parquet", "detections.parquet")
"""Tables of a study of detectors, made by `lottery.study.detectors`."""
PICTURES = "pictures"
"""Folder of the pictures that detections.parquet is about."""
ALL = "all"
"""Class of the rows of detectors.csv that hold the mean over classes."""
TRUTH, NO_SEED = "truth", -1
"""Variant and seed of the boxes that there are, among those that are found."""
_NETWORK = {"cell": TEXT, "variant": TEXT, "init": TEXT, "seed": COUNT, "level": COUNT}
DETECTORS = {
    "study": TEXT,
    **_NETWORK,
    "class": TEXT,
    "ap_11": FRACTION,
    "ap_area": FRACTION,
    "ap_before": FRACTION,
    "boxes": MAYBE_COUNT,
    "parameters": MAYBE_COUNT,
    "macs": MAYBE_COUNT,
    "bytes": MAYBE_COUNT,
    "latency_ms": FRACTION,
    "latency_low": FRACTION,
    "latency_high": FRACTION,
    "latency_n": MAYBE_COUNT,
    "unpruned_ms": FRACTION,
    "busy_cores": FRACTION,
    "pictures": MAYBE_COUNT,
}
PRECISION_RECALL = _NETWORK | {"class": TEXT, "recall": FRACTION, "precision": FRACTION}
DETECTIONS = {
    **_NETWORK,
    "picture": COUNT,
    "class": TEXT,
    "score": FRACTION,
    **dict.fromkeys(("x0", "y0", "x1", "y1"), FRACTION),
}
