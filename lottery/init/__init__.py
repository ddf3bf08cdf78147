"""Initialisation schemes: of single layers, and of whole networks.

initialise(model, "by_layer(first=kaiming_normal, rest=xavier_normal(gain=0.5))", seed=0)
"""

from lottery.init.by_layer import by_layer
from lottery.init.images import data_aware_first, lsuv
from lottery.init.network import (
    NetworkDraw,
    Weights,
    initialise,
    is_network_scheme,
    layers,
    network_scheme,
)
from lottery.init.schemes import (
    RELU_GAIN,
    SCHEMES,
    Fans,
    delta_orthogonal,
    fans,
    kaiming_normal,
    kaiming_uniform,
    normal,
    orthogonal,
    sign_constant,
    torch_default,
    truncated_normal,
    uniform,
    xavier_normal,
    xavier_uniform,
)
from lottery.init.stds import stds
from lottery.init.ticket_informed import TicketFit, ticket_informed

__all__ = [
    "RELU_GAIN",
    "SCHEMES",
    "Fans",
    "NetworkDraw",
    "TicketFit",
    "Weights",
    "by_layer",
    "data_aware_first",
    "delta_orthogonal",
    "fans",
    "initialise",
    "is_network_scheme",
    "kaiming_normal",
    "kaiming_uniform",
    "layers",
    "lsuv",
    "network_scheme",
    "normal",
    "orthogonal",
    "sign_constant",
    "stds",
    "ticket_informed",
    "torch_default",
    "truncated_normal",
    "uniform",
    "xavier_normal",
    "xavier_uniform",
]
