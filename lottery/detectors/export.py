"""Detectors as files: safetensors to go on with here, ONNX to run elsewhere.

A safetensors file holds the tensors of the network as it is, without the filters that were removed,
and as text what network it is, its classes, anchors and input size. So that a file from elsewhere
is nothing but numbers, only networks that `lottery.models` has by name are read: a reference to
one's own function would be code to run.
"""

import json
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lottery.detection.decoding import decode
from lottery.detection.objective import Detection
from lottery.detectors.detector import Detector
from lottery.errors import ConfigError, LotteryError, UsageError, in_a_line
from lottery.files import whole
from lottery.models import MODELS, build
from lottery.pruning.cut import replace_tensors
from lottery.registry import parse_spec

FORMAT = "lottery.detector.1"


def save(detector: Detector, path: Path) -> None:
    """Write a detector that `load` reads; ConfigError for a network that is not `lottery`'s own."""
    _check_known(detector.spec)
    about = {"format": FORMAT, "model": detector.spec, **_about(detector)}
    tensors = {name: value.contiguous() for name, value in detector.model.state_dict().items()}
    with whole(path) as place:
        place.write_bytes(safetensors.torch.save(tensors, about))


def load(path: str | Path) -> Detector:
    """A detector from its file, as small as it was; UsageError for a file that is none."""
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if about.get("format") != FORMAT:
            raise ValueError(f"its format is {about.get('format')}, not {FORMAT}")
        _check_known(about["model"])
        model = build(about["model"]).eval()
        replace_tensors(model, tensors)
        names, size = tuple(json.loads(about["classes"])), int(about["size"])
        objective = Detection(names, torch.tensor(json.loads(about["anchors"])))
        with torch.no_grad():
            images = torch.zeros(1, 3, size, size)
            objective.check(model(images), len(names), images)
    except SafetensorError as error:
        form = "safetensors, as export_detector.py writes"
        raise UsageError(f"{path} cannot be read: {in_a_line(error)}; allowed: {form}") from error
    except (OSError, LotteryError) as error:
        raise UsageError(f"{path} cannot be read: {in_a_line(error)}") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"{path} is no detector: {in_a_line(error)}") from error
    return Detector(model, about["model"], objective, size)


def export_onnx(detector: Detector, path: Path) -> None:
    """Write a detector for other programs (opset 18 and later), by `torch.onnx`.

    Input "images": float32, (batch, 3, size, size), 0 to 1, RGB. Outputs "boxes": (batch, N, 4),
    corners as fractions, and "scores": (batch, N, classes), of all N = anchors × rows × columns
    predictions; what overlaps a better box of its class is yet to be left out (non-maximum
    suppression). Classes, anchors and size are in the model's metadata. Needs the extra "onnx".
    """
    try:
        import onnxscript  # noqa: F401 (an extra, which the export imports)
    except ImportError:
        raise UsageError("ONNX needs onnx and onnxscript: pip install -e '.[onnx]'") from None
    images = torch.zeros(2, 3, detector.size, detector.size)  # of 1, a batch would stay 1
    program = torch.onnx.export(
        _Decoded(detector).eval(),
        (images,),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        output_names=["boxes", "scores"],
        dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
    )
    assert program is not None  # as it is told with dynamo
    program.model.metadata_props.update(_about(detector))
    with whole(path) as place:
        program.save(place, external_data=False)


class _Decoded(nn.Module):
    """A detector whose output are boxes and scores."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.network = detector.model
        self.register_buffer("anchors", detector.objective.anchors)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(self.anchors, Tensor)
        return decode(self.network(images), self.anchors)


def _about(detector: Detector) -> dict[str, str]:
    return {
        "classes": json.dumps(detector.objective.names),
        "anchors": json.dumps(detector.objective.anchors.tolist()),
        "size": str(detector.size),
    }


def _check_known(spec: str) -> None:
    name, _, _ = parse_spec(spec, "model")
    if name not in MODELS:
        raise ConfigError("model", spec, f"{', '.join(MODELS)}, with options")
