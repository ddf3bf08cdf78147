"""Choose a custom scheme from a study by validation accuracy, and write the choice to a file.

  python experiments/choose_scheme.py custom-screen

Commit the file before the studies that judge the choice are run.
"""

import argparse
import sys
from pathlib import Path

from lottery.analysis.choice import choose
from lottery.analysis.report.study import load
from lottery.errors import LotteryError
from lottery.files import whole


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 written, 2 not."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", metavar="STUDY", help="a name under the results folder")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("experiments/schemes/chosen.yaml"),
        metavar="FILE",
        help="%(default)s",
    )
    parser.add_argument(
        "--judges",
        type=lambda text: [name for name in text.split(",") if name],
        default=["custom-confirm", "custom-confirm-conv", "methods"],
        metavar="STUDIES",
        help="studies that will judge the choice, and no others (custom-confirm,"
        "custom-confirm-conv,methods)",
    )
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="%(default)s")
    options = parser.parse_args(arguments)
    try:
        study = load(options.study, options.results_dir)
        commits = [str(run.get("git_commit")) for run in study.runs]
        choice = choose(study.levels, study.name, commits, options.judges)
        text = choice.to_yaml()
        # What is already being judged must not change afterwards.
        if options.out.exists() and options.out.read_text(encoding="utf-8") != text:
            return _complain(f"{options.out} holds another choice; write to a new file")
        with whole(options.out) as path:
            path.write_text(text, encoding="utf-8", newline="\n")
    except (LotteryError, OSError) as error:
        return _complain(str(error))
    for row in choice.candidates:
        note = "" if row["keeps_up"] else "; falls behind unpruned"
        print(f"{100 * row['area']:+.3f} pp  {row['scheme']}{note}")
    print(
        f"By validation area (n = {choice.candidates[0]['n']} seeds) the first custom scheme that "
        f"keeps up unpruned is {choice.chosen}\n"
        f"and the first standard one {choice.standard}: {options.out}"
    )
    return 0


def _complain(message: str) -> int:
    print(f"choose_scheme.py: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
