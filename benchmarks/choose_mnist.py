"""How the settings of table1_mnist.py that no paper fixes were chosen.

    python benchmarks/choose_mnist.py                      # everything: hours on two cores
    python benchmarks/choose_mnist.py --systems svm ddl

Each system learns from 1,000 labelled images and is scored on 5,000 training images that nothing
else has seen; the subsets are others than those of the table. Parameters are varied one after the
other, the others staying as they are in _mnist_systems.py. Finished fits are kept in the JSON file,
and not computed again.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
from _measure import Results
from _mnist_data import FIRST_SEED_OF_CHOICE, held_out, load_normalized
from _mnist_systems import SYSTEMS
from sklearn.exceptions import ConvergenceWarning
from table1_mnist import training_set

HERE = Path(__file__).parent
N_VALIDATION = 5000


def of_run(name, parameter, value):
    """System and settings of a run: those of the table, but for one."""
    return {"system": name, "settings": SYSTEMS[name].make.keywords | {parameter: value}}


def main():
    """Run what is asked for and not yet there, then print the means."""
    choosable = [name for name, system in SYSTEMS.items() if system.choices]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="+", choices=choosable, default=choosable)
    parser.add_argument("--subsets", type=int, default=3, help="subsets of 1,000 samples")
    parser.add_argument("--data-home", help="folder with mnist/ (default: SKDDL_DATA)")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "choose_mnist.json")
    arguments = parser.parse_args()

    results = Results(arguments.output, {})
    X, y = load_normalized(arguments.data_home, "train")
    warnings.simplefilter("ignore", ConvergenceWarning)
    for seed in range(FIRST_SEED_OF_CHOICE, FIRST_SEED_OF_CHOICE + arguments.subsets):
        unseen = held_out(y, seed, N_VALIDATION)
        for name in arguments.systems:
            system = SYSTEMS[name]
            for parameter, values in system.choices.items():
                for value in values:
                    run = of_run(name, parameter, value) | {"seed": seed}
                    if any(run.items() <= done.items() for done in results.runs):
                        continue
                    samples, labels = training_set(system, "1k", seed, X, y, without=unseen)
                    model = system.make("1k", seed, None, **run["settings"])
                    accuracy = model.fit(samples, labels).score(X[unseen], y[unseen])
                    results.add(run | {"accuracy": accuracy})
                    print(results.runs[-1], flush=True)

    print("| system | parameter | value | accuracy | runs |\n|---|---|---|---|---|")
    for name, system in SYSTEMS.items():
        for parameter, values in system.choices.items():
            for value in values:
                asked = of_run(name, parameter, value).items()
                accuracy = [run["accuracy"] for run in results.runs if asked <= run.items()]
                if accuracy:
                    chosen = system.make.keywords[parameter] == value
                    print(
                        f"| {system.label} | {parameter} | {value:g}{', chosen' * chosen} "
                        f"| {np.mean(accuracy):.4f} | {len(accuracy)} |"
                    )


if __name__ == "__main__":
    main()
