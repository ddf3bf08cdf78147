"""Why a ticket trains, or does not: quantities recorded at each level, on request."""

from lottery.diagnostics.quantities import Quantities
from lottery.diagnostics.recorder import DiagnosticsConfig, Recorder

__all__ = ["DiagnosticsConfig", "Quantities", "Recorder"]
