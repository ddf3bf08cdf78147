"""Addressed randomness: every random choice has its own generator, derived and never consumed.

A generator is found by its address (seed, purpose, ...), so any step's data order or any layer's
initial weights can be computed again without replaying what came before. Resuming therefore needs
no generator state, and a result does not depend on what else ran in the process.
"""

import hashlib

import torch

Address = int | str


def derive(seed: int, *address: Address) -> int:
    """A 63-bit seed for an address (a purpose, then more): leading bits of a SHA-256 of it all.

    >>> derive(0, "init", "fc1.weight") == derive(0, "init", "fc1.weight")
    True
    >>> derive(0, "init", "fc1.weight") == derive(0, "init", "fc2.weight")
    False
    """
    text = "\x1f".join(repr(part) for part in (seed, *address))
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *address: Address) -> torch.Generator:
    """A fresh generator for an address; on the CPU, so that every device sees the same numbers."""
    return torch.Generator().manual_seed(derive(seed, *address))
