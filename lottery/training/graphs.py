"""CUDA graphs and streams: many small kernels launched as one, and side by side."""

import warnings
from collections.abc import Callable, Sequence

import torch

WARM_UP = 3
"""Runs before the capture, in which libraries set themselves up as they may not during one."""

STREAMS = 16
"""Streams on which replicas run side by side. Each takes a workspace for matrix products."""


def captured(work: Callable[[], object]) -> Callable[[], None]:
    """`work` as one launch. It is run a few times for that; what it changed is the caller's affair.

    work: on tensors that stay where they are, without a look at their values.
    """
    stream, graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream), warnings.catch_warnings():
        # Optimisers that may be captured complain of steps that are not: of these.
        warnings.filterwarnings("ignore", message=".*capturable=True.*")
        for _ in range(WARM_UP):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    # The stream of the warm-up has the workspaces of matrix products; another would get new ones.
    with torch.cuda.graph(graph, stream=stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)
    return graph.replay


class Fork:
    """Runs pieces of work on streams of their own, between what comes before and after."""

    def __init__(self, pieces: int) -> None:
        self._streams = [torch.cuda.Stream() for _ in range(min(pieces, STREAMS))]

    def __call__(self, work: Sequence[Callable[[], None]]) -> None:
        """Start each piece when the current stream has come here; it goes on when all are done."""
        current = torch.cuda.current_stream()
        for stream in self._streams:
            stream.wait_stream(current)
        try:
            for number, piece in enumerate(work):
                with torch.cuda.stream(self._streams[number % len(self._streams)]):
                    piece()
        finally:  # a capture can only end with all streams joined
            for stream in self._streams:
                current.wait_stream(stream)


def in_turn(work: Sequence[Callable[[], None]]) -> None:
    """The same where there are no streams."""
    for piece in work:
        piece()


def out_of_memory(error: BaseException | None) -> bool:
    """Whether a GPU's memory was too small, be it in a capture that then failed to end."""
    return error is not None and (
        isinstance(error, torch.cuda.OutOfMemoryError) or out_of_memory(error.__context__)
    )
