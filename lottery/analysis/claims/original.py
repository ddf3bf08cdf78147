"""Conclusions of the initialisation study of 2020 (stfwn/neural-network-pruning on GitHub).

Its report asks whether Xavier or Kaiming weights survive pruning better. They are put to our
corrected protocol (variants base and corrected) and to a repetition of its own (original).
"""

import pandas as pd

from lottery.analysis.choice import STANDARD
from lottery.analysis.claims.measures import Measure, Measurer, Missing, Place, compare
from lottery.analysis.claims.measures_schemes import network_contrast, scheme_contrast, widest_pair
from lottery.analysis.claims.verdicts import Claim, Region

REPORT = "stfwn/neural-network-pruning, report of 2020"
LENET, CONV6 = "lenet_300_100", "conv6"
STEPS = {LENET: 5_000, CONV6: 4_167}
ACCURACY = "test_accuracy"
TO_3_5 = Place(100.0, down_to=3.4)
"""All levels down to 3.5 % of the weights, be it 3.52 or 3.58."""
BELOW_3_5 = Place(3.2, down_to=0.0)
MEAN_TO_3_5 = (
    "of the mean test accuracy over all levels down to 3.5 % of the weights, paired by seed"
)
MEAN_BELOW = "of the mean test accuracy over all levels below 3.5 % of the weights, paired by seed"
WIDEST = (
    "Of all pairs of schemes the difference that is furthest from proven alike, by its interval:"
)
ABOVE, BELOW = Region(low=0.0), Region(high=0.0)


def original_claims() -> list[Claim]:
    """Those of the report, LeNet's first."""
    return [
        _claim(
            "alike",
            "All four initialisations are similar down to 3.5 % of the weights",
            "similar (margin of ours: 0.1 points)",
            f"{WIDEST} {MEAN_TO_3_5}",
            Region(-0.1, 0.1),
            _all_four(widest_pair(TO_3_5, ACCURACY, 0.1)),
        ),
        _claim(
            "normal-uniform",
            "Normal and uniform weights do equally well",
            "equal (margin of ours: 0.1 points)",
            f"Normal minus uniform, {MEAN_TO_3_5}",
            Region(-0.1, 0.1),
            scheme_contrast("normal − uniform", TO_3_5, ACCURACY),
        ),
        _claim(
            "xavier",
            "Below 3.5 % of the weights Xavier is better than Kaiming",
            "Xavier better",
            f"Xavier minus Kaiming, {MEAN_BELOW}",
            ABOVE,
            scheme_contrast("Xavier − Kaiming", BELOW_3_5, ACCURACY),
        ),
        _claim(
            "narrower",
            "Narrower initial weights (half the gain) are better than wider ones (twice)",
            "narrower better",
            f"Smallest gain minus largest, {MEAN_BELOW}",
            ABOVE,
            scheme_contrast("narrower − wider", BELOW_3_5, ACCURACY),
            gains=True,
        ),
        _claim(
            "winning-6.9",
            "Tickets with 6.9 % of the weights are winning tickets",
            "at or above the unpruned network",
            "Test accuracy of tickets at 6.9 % of the weights minus that of the unpruned network, "
            "mean over schemes, paired by seed",
            ABOVE,
            compare(Place(6.9), Place(), ACCURACY),
        ),
        _claim(
            "lenet-conv6",
            "LeNet recovers from pruning better than Conv-6",
            "at 33 % of the weights its logs have +0.4 points against −9.7",
            "Test accuracy at 32.8 % of the weights minus that of the unpruned network: LeNet's "
            "minus Conv-6's, mean over schemes (Welch)",
            ABOVE,
            network_contrast(LENET, CONV6, 32.8, ACCURACY),
            others=True,
        ),
        _claim(
            "conv6-suffers",
            "Conv-6 suffers greatly under pruning",
            "76.4 to 66.7 % at 33 % of the weights, in its logs",
            "Test accuracy of tickets at 32.8 % of the weights minus that of the unpruned network, "
            "mean over schemes, paired by seed",
            BELOW,
            compare(Place(32.8), Place(), ACCURACY),
            CONV6,
        ),
        _claim(
            "conv6-alike",
            "On Conv-6 no initialisation is consistently better",
            "none better (margin of ours: 0.5 points)",
            f"{WIDEST} of the mean test accuracy over all levels, paired by seed",
            Region(-0.5, 0.5),
            _all_four(widest_pair(Place(100.0, down_to=0.0), ACCURACY, 0.5)),
            CONV6,
        ),
    ]


def _claim(
    id: str,
    statement: str,
    published: str,
    how: str,
    rule: Region,
    measure: Measurer,
    network: str = LENET,
    others: bool = False,
    gains: bool = False,
) -> Claim:
    """One of the report; gains: about its schemes at other gains, too."""
    return Claim(
        id=f"stfwn-{id}",
        source=REPORT,
        statement=statement,
        published=published,
        network=network,
        how=how,
        rule=rule,
        measure=measure if gains else _of_its_schemes(measure),
        scope="original",
        steps=STEPS,
        others=others,
    )


def _of_its_schemes(measure: Measurer) -> Measurer:
    """The same of the four schemes that the report is about: others have no part in its claims."""

    def measured(levels: pd.DataFrame) -> Measure:
        own = levels[levels["init"].isin(STANDARD)]
        if own.empty:
            raise Missing("none of the four schemes of the report")
        return measure(own)

    return measured


def _all_four(measure: Measurer) -> Measurer:
    """The same where no scheme of the report is missing."""

    def measured(levels: pd.DataFrame) -> Measure:
        missing = sorted(set(STANDARD) - set(levels["init"]))
        if missing:
            raise Missing(f"no {', '.join(missing)}")
        return measure(levels)

    return measured
