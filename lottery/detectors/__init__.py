"""Trained detectors by themselves: in use, and as files."""

from lottery.detectors.detector import Detector
from lottery.detectors.export import export_onnx, load, save

__all__ = ["Detector", "export_onnx", "load", "save"]
