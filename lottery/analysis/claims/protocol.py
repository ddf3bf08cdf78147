"""What the protocol of the study of 2020 did: its logs' accuracies, and which setting did what.

Its code reset networks to PyTorch's default weights (variant `original`; `own_init` resets to the
scheme under study), kept Adam's state across resets (`fresh_adam`), pruned biases
(`weights_only`) and the output layer at the full rate (`half_rate_output`), and swapped train and
test accuracy in its logs. What each did is predicted from its code and logs, not published.
"""

from lottery.analysis.claims.measures import Measurer, Place, compare
from lottery.analysis.claims.measures_schemes import (
    against,
    critical_percent,
    critical_ratio,
    spread_change,
    train_minus_test,
)
from lottery.analysis.claims.verdicts import Claim, Region
from lottery.analysis.unpaired import Moments

LENET, ACCURACY = "lenet_300_100", "test_accuracy"
STEPS = {LENET: 5_000}
LOGS = "stfwn/neural-network-pruning, run logs (train and test put right)"
CODE = "stfwn/neural-network-pruning, prediction from its code"
ORIGINAL = "original"
SEEDS = 11
"""Seeds of the logs on LeNet, 42 to 52."""
SCHEMES = ["kaiming_normal", "kaiming_uniform", "xavier_normal", "xavier_uniform"]
RECOVERED = {
    100.0: ((97.73, 97.72, 97.66, 97.76), (0.26, 0.13, 0.18, 0.15), 0.2),
    26.2: ((98.19, 98.14, 98.15, 98.08), (0.12, 0.12, 0.12, 0.12), 0.1),
    6.9: ((97.81, 97.81, 97.84, 97.76), (0.10, 0.10, 0.10, 0.10), 0.1),
    3.5: ((96.90, 96.95, 97.01, 96.97), (0.31, 0.34, 0.08, 0.33), 0.5),
    2.8: ((94.6, 95.2, 96.5, 96.4), (6.2, 3.0, 0.31, 0.42), 2.0),
    1.4: ((89.1, 89.5, 88.8, 87.4), (9.1, 6.1, 5.5, 8.0), 5.0),
}
"""By per cent of weights (levels 0, 6, 12, 15, 16 and 19): mean true test accuracy (%) and its
deviation over seeds for each of SCHEMES, and the margin (points) within which ours is equal: no
narrower than the spread of the logs lets anyone show."""
CLIFF = 0.05
"""A fall of 5 points below unpruned is beyond what seeds do, and half way down the cliff."""


def protocol_claims() -> list[Claim]:
    """The recovered accuracies, then the predictions."""
    return [*_recovered(), *_predictions()]


def _recovered() -> list[Claim]:
    """One per level: our mean over the schemes equals that of the logs.

    The deviation of the logs' mean over schemes is not known; it is at most the schemes' mean
    deviation, which is taken.
    """
    claims = []
    for percent, (means, deviations, margin) in RECOVERED.items():
        theirs = Moments(sum(means) / 4, sum(deviations) / 4, SEEDS)
        claims.append(
            Claim(
                id=f"stfwn-log-{percent:g}",
                source=LOGS,
                statement=f"Test accuracy at {percent:g} % of the weights, mean of four schemes",
                published=f"{theirs.mean:.2f} % (n = {SEEDS}; margin of ours: {margin:g} points)",
                network=LENET,
                how="Our mean test accuracy over the same schemes minus that of the logs (Welch)",
                rule=Region(-margin, margin),
                measure=against(Place(percent), ACCURACY, theirs, SCHEMES),
                scope="replication",
                steps=STEPS,
            )
        )
    return claims


def _predictions() -> list[Claim]:
    at_2_8 = "Test accuracy at 2.8 % of the weights, mean over schemes, paired by seed: "
    cliff = "Weights remaining where the test accuracy falls 5 points below unpruned: "
    to_3_5 = Place(99.0, down_to=3.4)
    claims = [
        Claim(
            id="stfwn-train-test",
            source=CODE,
            statement="The swapped logs show a test accuracy that is 1.4 to 1.6 points too high",
            published="99.6 % for 98.1 %",
            network=LENET,
            how="Training minus test accuracy at the last step, mean over schemes and the levels "
            "from 21 to 7 % of the weights, variant original",
            rule=Region(1.4, 1.6),
            measure=train_minus_test(Place(22.0, down_to=6.8, variant=ORIGINAL)),
            scope="variants",
            steps=STEPS,
        ),
        Claim(
            id="stfwn-own-init",
            source=CODE,
            statement="Reset to their own weights, not PyTorch's default ones, schemes differ more",
            published="the default removes nearly all differences after level 1",
            network=LENET,
            how="Deviation between schemes under one seed of the mean test accuracy over the "
            "pruned levels down to 3.5 %: own_init minus original",
            rule=Region(low=0.0),
            measure=spread_change("own_init", ORIGINAL, to_3_5, ACCURACY),
            scope="variants",
            steps=STEPS,
        ),
        Claim(
            id="stfwn-fresh-adam",
            source=CODE,
            statement="Adam's state kept across resets slows the restart after the first",
            published="U(0, 1) recovers over three levels: 83.6, 91.7, 95.6, 97.4 %",
            network=LENET,
            how="Test accuracy at 80 % of the weights, mean over schemes, paired by seed: "
            "fresh_adam minus original",
            rule=Region(low=0.0),
            measure=_at(80.0, "fresh_adam"),
            scope="variants",
            steps=STEPS,
        ),
    ]
    for variant, words in (
        ("half_rate_output", "Pruned at half the rate, the output layer"),
        ("weights_only", "Left alone, the biases"),
    ):
        claims += [
            Claim(
                id=f"stfwn-{variant.replace('_', '-')}-2.8",
                source=CODE,
                statement=f"{words} would have kept accuracy at 2.8 % of the weights",
                published="cliff at 2.8 % in the logs",
                network=LENET,
                how=f"{at_2_8}{variant} minus original",
                rule=Region(low=0.0),
                measure=_at(2.8, variant),
                scope="variants",
                steps=STEPS,
            ),
            Claim(
                id=f"stfwn-{variant.replace('_', '-')}-cliff",
                source=CODE,
                statement=f"{words} would have moved the cliff to fewer weights",
                published="from 2.8 to below 1.5 % of the weights",
                network=LENET,
                how=f"{cliff}{variant} over original, geometric mean over schemes, paired by seed",
                rule=Region(high=1.0),
                measure=critical_ratio(variant, ORIGINAL, CLIFF),
                scope="variants",
                steps=STEPS,
            ),
        ]
    claims.append(
        Claim(
            id="stfwn-half-rate-output-1.5",
            source=CODE,
            statement="With the output layer at half rate the cliff lies below 1.5 %",
            published="below 1.5 %",
            network=LENET,
            how=f"{cliff}half_rate_output, geometric mean over schemes",
            rule=Region(high=1.5),
            measure=critical_percent("half_rate_output", CLIFF),
            scope="variants",
            steps=STEPS,
        )
    )
    return claims


def _at(percent: float, variant: str) -> Measurer:
    own, other = Place(percent, variant=variant), Place(percent, variant=ORIGINAL)
    return compare(own, other, ACCURACY)
