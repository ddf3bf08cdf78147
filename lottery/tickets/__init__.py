"""Finding lottery tickets, and the controls they are compared with."""

from lottery.tickets.controls import CONTROLS, run_control
from lottery.tickets.imp import RewindConfig, find_dense, find_tickets
from lottery.tickets.level import Level, Memory

__all__ = [
    "CONTROLS",
    "Level",
    "Memory",
    "RewindConfig",
    "find_dense",
    "find_tickets",
    "run_control",
]
