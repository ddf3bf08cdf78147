"""Criteria on gradients, made for pruning at initialisation (`prune.at: initial`).

Their authors rank all layers together (`prune.scope: global`); the configuration decides.
"""

from torch import Tensor

from lottery.pruning.criteria.base import CRITERIA, Context, Layer, ranked_network


@CRITERIA.register
def snip(layer: Layer, context: Context) -> Tensor:
    """|w · ∂L/∂w|, the change of the loss if the weight goes (SNIP; Lee et al. 2019, 1810.02340).

    With `prune.iterations` above 1 it is iterative SNIP (de Jorge et al. 2021, 2006.09081), whose
    pruned weights stay pruned.
    """
    return (layer.weight * ranked_network(snip, context).loss_gradient()[layer.name]).abs()


@CRITERIA.register
def grasp(layer: Layer, context: Context, temperature: float = 200.0) -> Tensor:
    """w · (Hg), which keeps the gradient's norm up (GraSP; Wang et al. 2020, 2002.07376, eq. 8).

    g: gradient of the loss with logits divided by `temperature`; H: its Hessian. Without the weight
    g's squared norm changes by −2 w · (Hg) to first order. The paper's score is −w · (Hg), and it
    removes the highest; here, as everywhere, the highest are kept. The sign matters: a weight that
    is large and negative goes first.
    """
    return layer.weight * ranked_network(grasp, context).hessian_gradient(temperature)[layer.name]


@CRITERIA.register
def synflow(layer: Layer, context: Context) -> Tensor:
    """|w| · ∂R/∂|w|, the weight's share of all paths (SynFlow; Tanaka et al. 2020, 2006.05467).

    R: sum of outputs of the network of absolute weights for an input of ones (`Network.flow`). The
    authors rank in 100 iterations (`prune.iterations: 100`): in one, whole layers are lost.
    """
    gradient = ranked_network(synflow, context).flow_gradient()[layer.name]
    return layer.weight.double().abs() * gradient
