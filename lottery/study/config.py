"""The configuration of a study: what one YAML file says."""

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser
from torch import nn

from lottery.data.images import DATASETS
from lottery.diagnostics import DiagnosticsConfig
from lottery.errors import ConfigError, UsageError
from lottery.init import SCHEMES, NetworkDraw, is_network_scheme
from lottery.models import MODELS
from lottery.pruning.criteria.trial import TRIAL, trial
from lottery.pruning.schedule import PruneConfig
from lottery.pruning.units import check_criterion
from lottery.registry import canonical
from lottery.tickets.imp import RewindConfig, check_protocol
from lottery.training.config import TrainConfig, to_steps
from lottery.training.engines import check_engine
from lottery.training.procedures import resolve


@dataclass(frozen=True, kw_only=True)
class ControlsConfig:
    """What every ticket is compared with. Numbers are draws per ticket and level; 0 is none."""

    dense: bool = False
    """Also train the unpruned network for the same total number of steps. With `start` it goes on
    from that study's, with a fresh optimiser at each level."""

    reinit: int = 0
    """The ticket's masks with newly drawn initial weights."""

    shuffle_layer: int = 0
    """The initial weights with the ticket's masks shuffled within each layer."""

    shuffle_global: int = 0
    """The initial weights with the ticket's masks shuffled across layers; not where whole filters
    are pruned."""

    random: int = 0
    """Random nested masks at the ticket's layer densities."""

    magnitude_at_init: int = 0
    """Masks of the largest initial weights at the ticket's layer densities; draws differ in the
    order of ties alone, so one is enough."""

    one_shot: int = 0
    """Masks by magnitude after level 0, straight to the ticket's layer densities; draws differ in
    the order of ties alone."""

    retrain: int = 0
    """The ticket's masks and initial weights, trained on the same images in another order."""

    levels: list[int] | None = None
    """Levels at which controls are trained, those of them that tickets reach; all from 1 on by
    default."""

    def __post_init__(self) -> None:
        for name, draws in self.draws.items():
            if draws < 0:
                raise ConfigError(f"controls.{name}", draws, "a number of draws, at least 0")
        levels = self.levels or ()
        if any(level < 1 for level in levels) or len(set(levels)) < len(levels):
            raise ConfigError("controls.levels", self.levels, "levels from 1 on, each once")

    @property
    def draws(self) -> dict[str, int]:
        """Draws per control, without the dense baseline."""
        apart = ("dense", "levels")
        names = [field.name for field in dataclasses.fields(self) if field.name not in apart]
        return {name: getattr(self, name) for name in names}


BASE = "base"
"""Variant of a study that names none."""
VARIED = {"model", "train", "prune", "rewind"}
"""Settings that a variant may change."""
LEAST_SHARE = 0.0001
"""Ray counts CPUs and GPUs in ten-thousandths."""


@dataclass(frozen=True, kw_only=True)
class ClusterConfig:
    """What a cell takes of a cluster (`--executor ray`). It decides no number of the results."""

    cpus: float = 1.0
    """CPUs that a cell occupies; it computes with one thread, however many these are."""

    gpus: float = 0.0
    """Share of a GPU that a cell occupies: 0.25 puts four cells on each. Cells compute on the GPU
    if this is above 0, else on the CPU."""

    retries: int = 3
    """How often a cell whose node or process died is started again, from its last checkpoint."""

    def __post_init__(self) -> None:
        if not LEAST_SHARE <= self.cpus < math.inf:
            raise ConfigError("cluster.cpus", self.cpus, f"a number from {LEAST_SHARE} on")
        if not (self.gpus == 0 or LEAST_SHARE <= self.gpus <= 1):
            allowed = f"0, or {LEAST_SHARE} to 1, the share of one GPU"
            raise ConfigError("cluster.gpus", self.gpus, allowed)
        if self.retries < 0:
            raise ConfigError("cluster.retries", self.retries, "at least 0")


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A study: networks from several initialisations and seeds, pruned level by level."""

    name: str = "study"
    """Name of the study, and of its folder under the results directory. A study that is run from a
    file, whatever is shown here, goes by the file's name unless it has another."""

    model: str = "lenet_300_100"
    """Network: lenet_300_100, lenet5, conv2, conv4, conv6, cifar_quick, vgg16_bn, resnet20,
    resnet56 or wide_resnet, with options as in conv6(width=0.25) or wide_resnet(28, 10); a
    detector, yolo_v2 or tiny_yolo_v2, as in yolo_v2(classes=3); or module:function that returns an
    nn.Module."""

    data: str = "mnist"
    """Data set: mnist or cifar10; for detectors digit_scenes, voc2007, voc2012 or a folder in
    VOC's layout, voc(folder), with options as in digit_scenes(classes=one, size=160); or
    module:function that returns a lottery.data.Dataset."""

    validation: int = 5000
    """Training images held out for validation and early stopping, drawn by each seed. Not used
    where the data set comes with validation images of its own, as those for detectors do."""

    stratified: bool = True
    """Hold out the same share of every class, or draw without regard to class."""

    inits: list[str] = field(
        default_factory=lambda: [
            "xavier_normal",
            "xavier_uniform",
            "kaiming_normal",
            "kaiming_uniform",
        ]
    )
    """Initialisation schemes, with options as in kaiming_normal(gain=1), or module:function."""

    seeds: list[int] = field(default_factory=lambda: [0, 1, 2])
    """Seeds, from 0 on: each decides weights, data order, validation split and ties of one
    replicate."""

    levels: int = 10
    """Number of prunings: levels 0 (unpruned) to this are trained."""

    start: str | None = None
    """Earlier study, by name or folder, whose unpruned networks are pruned: level 0 of each scheme
    and seed is its, and not trained again. By default every variant trains its own."""

    train: TrainConfig = TrainConfig()  # noqa: RUF009 (frozen)
    """Training within a level."""

    prune: PruneConfig = PruneConfig()  # noqa: RUF009
    """Pruning between levels."""

    rewind: RewindConfig = RewindConfig()  # noqa: RUF009
    """What pruning resets."""

    controls: ControlsConfig = ControlsConfig()
    """What tickets are compared with."""

    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Protocols to compare, by name: what each sets differently of model, train, prune and rewind,
    as in {fine_tuning: {rewind: {mode: none}}}. The whole grid is run with each; by default with
    the settings as they are, called base."""

    engine: str = "auto"
    """How steps are computed: reference is plain PyTorch; sparse, on CPUs, runs linear layers of
    few weights in CSR; stacked, on GPUs, trains cells as one; auto takes, level by level, the
    fastest that can. They differ in rounding, and levels.csv says which ran."""

    diagnostics: DiagnosticsConfig = DiagnosticsConfig()  # noqa: RUF009
    """What is recorded to explain results."""

    cluster: ClusterConfig = ClusterConfig()
    """What a cell takes of a cluster."""

    def __post_init__(self) -> None:
        for setting in ("model", "data"):
            object.__setattr__(self, setting, canonical(getattr(self, setting), setting))
        object.__setattr__(self, "inits", [canonical(spec, "init") for spec in self.inits])
        if not re.fullmatch(r"[\w.-]+", self.name) or set(self.name) <= {"."}:
            raise ConfigError("name", self.name, "letters, digits, '.', '_' and '-'")
        if self.levels < 0:
            raise ConfigError("levels", self.levels, "at least 0")
        if self.validation < 1:
            raise ConfigError("validation", self.validation, "at least 1")
        for setting, values in (("inits", self.inits), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise ConfigError(setting, values, "one or more values, each once")
        if min(self.seeds) < 0:
            raise ConfigError("seeds", self.seeds, "whole numbers from 0 on")
        if self.rewind.init is not None and any(self.controls.draws.values()):
            allowed = "nothing in a study with controls, which start from their ticket's weights"
            raise ConfigError("rewind.init", self.rewind.init, allowed)
        _check_criterion(self.prune, self.controls)
        check_protocol(self.prune, self.rewind, self.train)
        self._check_start()
        if self.controls.retrain and self.rewind != RewindConfig():
            allowed = "0 unless rewind is as by default: retrain starts from initial weights"
            raise ConfigError("controls.retrain", self.controls.retrain, allowed)
        check_engine(self.engine)
        MODELS.resolve(self.model)
        DATASETS.resolve(self.data)
        for spec in self.inits:
            _check_scheme("inits", spec)
        if self.rewind.init is not None:
            _check_scheme("rewind.init", self.rewind.init)
        self._check_variants()

    def _check_start(self) -> None:
        """Of an earlier study there are weights, and no state of training."""
        if self.start is None:
            return
        step = to_steps("rewind.to", self.rewind.to, 1)
        if self.rewind.optimizer != "fresh" or (step and self.rewind.mode == "weights"):
            allowed = "one that needs no more than the weights of the unpruned network, with start"
            raise ConfigError("rewind", dataclasses.asdict(self.rewind), allowed)
        if resolve(self.prune.during).acts_in(0, self.prune):
            allowed = "one that leaves the unpruned network alone, with start"
            raise ConfigError("prune.during", self.prune.during, allowed)

    def _check_variants(self) -> None:
        """Each has a usable name and settings of its own."""
        seen: dict[str, str] = {}
        for name in self.variants:
            if not re.fullmatch(r"[\w.-]+", name):
                raise ConfigError("variants", name, "names of letters, digits, '.', '_' and '-'")
            settings = repr(self.variant(name).to_dict())
            if settings in seen:
                allowed = f"settings that differ from those of {seen[settings]}"
                raise ConfigError(f"variants.{name}", self.variants[name], allowed)
            seen[settings] = name

    @property
    def variant_names(self) -> list[str]:
        """Names of the variants; base if there are none."""
        return list(self.variants) or [BASE]

    def variant(self, name: str) -> "StudyConfig":
        """The study with the settings of one variant, and no others."""
        changes = self.variants[name] if self.variants else {}
        allowed = (
            "settings of model, train, prune and rewind by name, such as {prune: {scope: global}}"
        )
        if not isinstance(changes, dict) or not changes.keys() <= VARIED:
            raise ConfigError(f"variants.{name}", changes, allowed)
        try:
            return _replaced(self, {**changes, "variants": {}}, "")
        except UsageError as error:
            raise UsageError(f"variants.{name}: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "StudyConfig":
        """The study that `to_dict` gave; settings that are not in it are as by default."""
        return _replaced(cls(), values, "")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, nested, in the order of the fields."""
        return dataclasses.asdict(self)


def _replaced(config: Any, changes: dict[str, Any], prefix: str) -> Any:
    """A copy of `config` with other values, nested as in it; UsageError for one that cannot be."""
    hints, new = get_type_hints(type(config)), {}
    for key, value in changes.items():
        if key not in hints:
            raise UsageError(f"{prefix}{key} is not a setting; allowed: {', '.join(hints)}")
        old = getattr(config, key)
        if dataclasses.is_dataclass(old):
            if not isinstance(value, dict):
                raise ConfigError(f"{prefix}{key}", value, "settings by name")
            value = _replaced(old, value, f"{prefix}{key}.")
        else:
            value = _typed(f"{prefix}{key}", value, hints[key])
        new[key] = value
    return dataclasses.replace(config, **new)


def _typed(setting: str, value: Any, hint: Any) -> Any:
    """A value from a YAML file as the type `hint`, which text such as 1e-3 may stand for."""
    kinds = get_args(hint) or (hint,)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    try:
        if value is None and NoneType not in kinds:  # which the parser takes for "not given"
            raise ArgumentError(None, "none")
        return parser.parse_object({"value": value}).value
    except ArgumentError as error:
        allowed = ", ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)
        raise ConfigError(setting, value, allowed.replace("NoneType", "null")) from error


def _check_scheme(setting: str, spec: str) -> None:
    """Try the scheme on a small layer, so that what is wrong with it is found before any training.

    One that draws whole networks is tried on the study's own once its data are there.
    """
    scheme = SCHEMES.resolve(spec)
    if is_network_scheme(scheme):
        return
    layer = nn.ModuleDict({"trial": nn.utils.skip_init(nn.Linear, 4, 4)})
    _try(setting, spec, "a scheme with its options", lambda: NetworkDraw(layer).try_twice(spec))


def _check_criterion(prune: PruneConfig, controls: ControlsConfig) -> None:
    """Try the criterion on a small network, as at the levels; untrained it must tell some apart."""

    def check() -> None:
        scores = trial(prune.criterion, prune.at == "trained", prune.images)
        if bool(scores.isnan().any()):
            allowed = f"one whose scores are numbers, not NaN, as for {TRIAL} with random weights"
            raise ConfigError("prune.criterion", prune.criterion, allowed)
        if prune.at == "initial" and bool((scores == scores.flatten()[0]).all()):
            allowed = "one that tells weights apart before training, as prune.at is initial"
            raise ConfigError("prune.criterion", prune.criterion, allowed)
        if check_criterion(prune) and controls.shuffle_global:
            allowed = "0, as whole filters are pruned, which are shuffled within their layers only"
            raise ConfigError("controls.shuffle_global", controls.shuffle_global, allowed)

    what = f"a criterion with its options, as tried on {TRIAL}"
    _try("prune.criterion", prune.criterion, what, check)


def _try(setting: str, spec: str, what: str, call: Callable[[], object]) -> None:
    try:
        call()
    except ConfigError:
        raise
    except Exception as error:  # a function of one's own may fail in any way
        raise ConfigError(setting, spec, f"{what} ({error})") from error
