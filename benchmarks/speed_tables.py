"""Bring the tables of speed in README.md and docs/ up to date with benchmarks/results/.

    python benchmarks/speed_tables.py [--check]

A table stands between `<!-- begin: NAME -->` and `<!-- end: NAME -->`; `TABLES` says what the names
mean. With --check nothing is written, and files that are out of date are an error.
"""

import argparse
import json
import re
import sys
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
LARS = "scikit-learn, lasso_lars"
MISSING = "not measured yet"


def load(name):
    """The results in a file, or nothing."""
    path = HERE / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def number(value):
    """Three digits, without an exponent."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def span(values):
    """The smallest and the largest, if they differ."""
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def percent(share):
    """A share in percent."""
    return f"{100 * share:.1f} %" if share else "0"


def table(header, rows):
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def factors(rows, coder):
    """How many times as long as ours another coder takes, by problem."""
    return [row["coders"][coder]["over skddl"] for row in rows if coder in row["coders"]]


def factor_span(rows, coder):
    """The same as text."""
    found = factors(rows, coder)
    return f"{span(found)} times" if found else MISSING


def setting(result):
    """The conditions of a run in a line."""
    values = result["setting"]
    device = "A GPU, and a CPU" if values["device"] == "cuda" else "A CPU"
    return (
        f"{device} (threads: {values['threads']}), float32, images: {values['data']}, "
        f'`solver="{values["solver"]}"`.'
        f"{' ' + values['note'] if 'note' in values else ''}"
    )


def targets():
    """What was aimed at, and what is measured."""
    encode, on_gpu, step, scale = map(load, ("encode-cpu", "encode-cuda", "step-cpu", "scale"))
    startup, threads = map(load, ("startup", "threads"))

    def measured(result, value):
        return MISSING if result is None else value(result)

    def cold(*shapes):
        """Problems of some sizes; of large ones, with the samples that share the Gram matrix."""
        return lambda result: [
            row
            for row in result["cold"]
            if (row["n_components"], row["n_features"]) in shapes
            and (row["n_components"] == 400 or row["n_samples"] > 100)
        ]

    def warm(age):
        return lambda result: [row for row in result["warm"] if age in row["start"]]

    def over(coder, rows):
        return measured(encode, lambda r: factor_span(rows(r), coder))

    small, large = cold((400, 192)), cold((2000, 500), (4096, 768))
    first = "seconds that the first sparse_encode takes more than the second"
    rows = [
        (
            "`sparse_encode`, 400 atoms, 192 features, batches of 100 and 2,000, over SPAMS",
            "at least 3 times as fast",
            over("SPAMS", small),
        ),
        ("the same over scikit-learn's `lasso_lars`", "at least 50 times", over(LARS, small)),
        (
            "the same from codes of a dictionary a step older, over SPAMS",
            "at least 6 times",
            over("SPAMS", warm("dictionary a step")),
        ),
        (
            "2,000 atoms of 500 features, 4,096 of 768, batches of 1,000 and 2,000, over SPAMS",
            "at least 3 times",
            over("SPAMS", large),
        ),
        (
            "first `sparse_encode` in a new environment, over the second",
            "less than 0.2 s more",
            measured(startup, lambda r: f"{span(r[first].values())} s"),
        ),
        (
            "`import skddl` over importing torch and scikit-learn",
            "at most 1.3",
            measured(startup, lambda r: number(r["import over importing torch and scikit-learn"])),
        ),
        (
            "a step of TDDL-CNN over one of its features under a linear classifier",
            "at most 1.25",
            measured(
                step,
                lambda r: (
                    f"{number(r['TDDL-CNN']['step over plain step'])}; from zero: "
                    f"{number(r['TDDL-CNN']['step from zero over plain step'])}"
                ),
            ),
        ),
        (
            "a step of TDDL-LIN over backpropagation through 100 steps of FISTA",
            "at least 10 times as fast",
            measured(step, lambda r: f"{number(r['TDDL-LIN']['unrolled over implicit'])} times"),
        ),
        (
            "a default fit to digits beside other programs on all cores, over one thread",
            "at most 1.3",
            measured(threads, lambda r: number(r["over one thread"]["busy"])),
        ),
        (
            "the same on one processor",
            "at most 1.3",
            measured(threads, lambda r: number(r["over one thread"]["one processor"])),
        ),
        (
            "`GridSearchCV(n_jobs=2)` of four such fits over `n_jobs=1`",
            "at most 0.7",
            measured(threads, lambda r: number(r["search with two jobs over one"])),
        ),
        (
            "10,000 codes on a GPU over SPAMS on 16 cores",
            "at least 50 times as fast",
            measured(on_gpu, lambda r: factor_span(cold((400, 192))(r), "SPAMS")),
        ),
        (
            "memory of `transform` on 1,000,000 samples of 784 features in a file",
            "at most 1,024 MiB",
            measured(scale, lambda r: f"{r['peak_mib_above_import']:.0f} MiB"),
        ),
    ]
    return table(("what", "target", "measured"), rows)


def step_times(device):
    """Where the time of a step of TDDL-CNN goes."""
    if (result := load(f"step-{device}")) is None:
        return MISSING.capitalize() + "."
    found, sizes = result["TDDL-CNN"], result["setting"]["TDDL-CNN"]
    names = {
        "step": "whole step",
        "features": "of which features, forward and backward",
        "coding": "of which coding",
        "Gram matrix": "of which, in the coding, the Gram matrix",
        "implicit gradient": "of which implicit gradient",
        "rest": "of which rest",
        "plain step": "the same features under a linear classifier",
    }
    # The run with a GPU is from before the Gram matrix was a row of its own.
    milliseconds = found["milliseconds"]
    rows = [(names[name], number(milliseconds[name])) for name in names if name in milliseconds]
    return (
        f"{setting(result)} Batches of {result['setting']['batch']}, {sizes['atoms']} atoms, "
        f"{sizes['features']} features, {sizes['non-zeros per code']:.0f} non-zeros per code; a "
        f"step takes {number(found['step over plain step'])} times as long as the plain one.\n\n"
        + table(("a step of TDDL-CNN", "milliseconds"), rows)
    )


def floor(device):
    """What a step cannot do without."""
    if (result := load(f"step-{device}")) is None:
        return MISSING.capitalize() + "."
    found = result["TDDL-CNN"]["floor"]
    names = {
        "plain step": "features and a linear classifier, forward and backward",
        "Gram matrix, half": "Gram matrix of the atoms, half of it",
        "correlations": "correlations of samples and atoms",
        "support solves": "equations on the supports, for codes and gradient",
        "optimality": "whether the other atoms stay out",
        "gradient": "gradient in features and dictionary, on the supports",
    }
    millions, times = found["millions of multiply-adds"], found["milliseconds"]
    rows = [(text, number(millions[name]), f"{times[name]:.3f}") for name, text in names.items()]
    rows.append(("all", number(sum(millions.values())), f"{sum(times.values()):.3f}"))
    return (
        f"At {found['multiply-adds per second'] / 1e9:.0f} thousand million multiply-adds per "
        "second, the rate in the same run of torch's product of matrices or of our Gram matrix, "
        f"whichever is higher, a step takes {number(found['step over floor'])} times its floor.\n\n"
        + table(("a step of TDDL-CNN", "millions of multiply-adds", "milliseconds"), rows)
    )


def unrolled(device):
    """TDDL-LIN beside backpropagation through FISTA."""
    if (result := load(f"step-{device}")) is None:
        return MISSING.capitalize() + "."
    found = result["TDDL-LIN"]
    rows = []
    for key, text in (
        ("milliseconds", "milliseconds"),
        ("megabytes", "megabytes"),
        ("median kkt residual", "KKT residual of the codes, median"),
        ("largest kkt residual", "KKT residual of the codes, largest"),
    ):
        if key in found:
            form = number if key in ("milliseconds", "megabytes") else "{:.1e}".format
            rows.append((text, form(found[key]["implicit"]), form(found[key]["unrolled"])))
    return table(("a step of TDDL-LIN", "skddl", "through 100 steps of FISTA"), rows)


def coder_table(rows):
    """One problem with several batches: what each coder takes, and how good its codes are."""
    coders = list(dict.fromkeys(name for row in rows for name in row["coders"]))
    lines = []
    for name in coders:
        cells = []
        for row in rows:
            if (found := row["coders"].get(name)) is None:
                cells.append("")
            else:
                microseconds = number(found["microseconds per sample"])
                factor = "" if name == "skddl" else f" ({number(found['over skddl'])})"
                cells.append(microseconds + factor)
        found = [row["coders"][name] for row in rows if name in row["coders"]]
        if name == "dictlearn, omp":
            quality = ("another problem", "")
        else:
            quality = (
                f"{max(f['kkt residual'] for f in found):.0e}",
                percent(max(f["above 1e-4"] for f in found)),
            )
        fewest = min(f["n_samples"] for f in found)
        lines.append((name, *cells, *quality, fewest))
    header = (
        "µs per sample (times ours)",
        *(f"batch of {row['n_samples']:,}" for row in rows),
        "largest KKT residual",
        "above 1e-4",
        "fewest samples",
    )
    return table(header, lines)


def encode(device):
    """Cold starts, a table for each problem."""
    if (result := load(f"encode-{device}")) is None:
        return MISSING.capitalize() + "."
    problems: dict[str, list] = {}
    for row in result["cold"]:
        size = f"{row['n_components']:,} atoms, {row['n_features']} features"
        problems.setdefault(f"{row['problem']} ({size})", []).append(row)
    tables = [f"{name}:\n\n{coder_table(rows)}" for name, rows in problems.items()]
    return "\n\n".join([setting(result), *tables])


def warm(device):
    """Warm starts."""
    if (result := load(f"encode-{device}")) is None or not result["warm"]:
        return MISSING.capitalize() + "."
    lines = []
    for row in result["warm"]:
        coders = row["coders"]
        factor = coders.get("SPAMS", {}).get("over skddl")
        lines.append(
            (
                f"{row['problem']}, {row['n_samples']:,} samples",
                row["start"],
                f"{row['change of the dictionary']:.1e}, {row['change of the features']:.1e}",
                f"{row['change of the codes']:.1e}, {number(row['atoms that enter or leave'])}",
                number(coders["skddl"]["microseconds per sample"]),
                number(coders["skddl from zero"]["over skddl"]),
                "" if factor is None else number(factor),
            )
        )
    header = (
        "problem",
        "codes of a",
        "relative change of dictionary, features",
        "of codes; atoms that enter or leave",
        "µs per sample",
        "ours from zero over it",
        "SPAMS over it",
    )
    return table(header, lines)


def sizes(device):
    """The numbers of the figure."""
    if (result := load(f"encode-{device}")) is None or not result["sizes"]:
        return MISSING.capitalize() + "."
    lines = []
    for rows in result["sizes"].values():
        for row in rows:
            coders = row["coders"]
            cells = [
                number(coders[name]["microseconds per sample"]) if name in coders else ""
                for name in ("skddl", "SPAMS", LARS)
            ]
            lines.append(
                (f"{row['n_components']:,} x {row['n_features']:,}", row["n_samples"], *cells)
            )
    header = ("atoms x features", "samples", "skddl, µs per sample", "SPAMS", LARS)
    return table(header, lines)


def networks(device):
    """Steps of DeTraMe networks."""
    if (result := load(f"step_detrame-{device}")) is None:
        return MISSING.capitalize() + "."
    keys = (
        "milliseconds",
        "milliseconds of the twin",
        "time over twin",
        "multiply-adds over twin",
        "time over multiply-adds",
    )
    rows = [
        (f"{row['network']}, batch {row['batch']}", row["step"], *(number(row[k]) for k in keys))
        for row in result["networks"]
    ]
    return table(("network", "step", *keys), rows)


def network_memory(device):
    """Memory of a training step of a DeTraMe network."""
    if (result := load(f"step_detrame-{device}")) is None:
        return MISSING.capitalize() + "."
    rows = [
        (r["steps"], f"{r['kept']:.0f}", f"{r['computed again']:.0f}") for r in result["memory"]
    ]
    return table(("steps", "MB, steps kept", "MB, computed again"), rows)


def scale():
    """Memory and time of `transform` against the number of samples."""
    if (result := load("scale")) is None:
        return MISSING.capitalize() + "."
    rows = [
        (
            f"{run['n_atoms']:,}",
            f"{run['n_samples']:,}",
            number(run["microseconds per sample"]),
            number(run["non-zeros per code"]),
            number(run["MiB of the codes"]),
            number(run["peak MiB above import"]),
        )
        for run in result["runs"]
    ]
    header = ("atoms", "samples", "µs per sample", "non-zeros", "codes, MiB", "peak, MiB")
    return table(header, rows)


def dictionary_learning():
    """What dictionaries cost, and what they take, beside SPAMS."""
    if (result := load("dictionary_learning")) is None:
        return MISSING.capitalize() + "."
    rows = [
        (
            run["problem"],
            f"{run['n_batches']:,}",
            f"{run['skddl']:.5f}",
            f"{run['SPAMS']:.5f}",
            f"{100 * run['change']:+.2f} ± {100 * run['standard error']:.2f} %",
            number(run["ms per mini-batch"]),
            number(run["SPAMS over skddl, time"]),
        )
        for run in result["runs"]
    ]
    header = ("data", "mini-batches", "cost", "of SPAMS", "change", "ms each", "SPAMS over it")
    return table(header, rows)


def startup():
    """What comes once in a process, and what is installed."""
    if (result := load("startup")) is None:
        return MISSING.capitalize() + "."
    first = result["seconds that the first sparse_encode takes more than the second"]
    sizes = result["megabytes installed, without torch"]
    rows = [
        (
            "importing skddl, over importing torch and scikit-learn",
            number(result["import over importing torch and scikit-learn"]),
        ),
        *((f"first `sparse_encode`, {name}, s", f"{s:.3f}") for name, s in first.items()),
        ("first fit, s", number(result["seconds that the first fit takes more than the second"])),
        *((f"{name} installed, MB", number(sizes[name])) for name in list(sizes)[:6]),
    ]
    return table(("more than the second time", ""), rows)


def threads():
    """A fit on idle and busy machines, and a search."""
    if (result := load("threads")) is None:
        return MISSING.capitalize() + "."
    seconds = result["seconds"]
    rows = [
        (name, *map(number, (seconds[name], seconds[f"{name}, one thread"], ratio)))
        for name, ratio in result["over one thread"].items()
    ]
    fits = table(("a default fit to digits", "s", "OMP_NUM_THREADS=1, s", "ratio"), rows)
    searches = [seconds["search, two jobs"], seconds["search"]]
    search = table(
        ("four fits in a search", "n_jobs=2, s", "n_jobs=1, s", "ratio"),
        [("", *map(number, searches), number(result["search with two jobs over one"]))],
    )
    return f"{fits}\n\n{search}"


OF_DEVICE = (step_times, floor, unrolled, encode, warm, sizes, networks, network_memory)
TABLES = {
    "targets": targets,
    "dictionary-learning": dictionary_learning,
    "scale": scale,
    "startup": startup,
    "threads": threads,
} | {
    f"{function.__name__.replace('_', '-')}-{device}": partial(function, device)
    for function in OF_DEVICE
    for device in ("cpu", "cuda")
}


def main():
    """Fill in, or check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    pattern = re.compile(r"<!-- begin: ([\w-]+) -->\n.*?<!-- end: \1 -->", re.DOTALL)

    def fill(match):
        name = match[1]
        return f"<!-- begin: {name} -->\n\n{TABLES[name]()}\n\n<!-- end: {name} -->"

    stale = []
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        old = path.read_text()
        if (new := pattern.sub(fill, old)) != old:
            stale.append(path.relative_to(ROOT))
            if not arguments.check:
                path.write_text(new)
    if arguments.check and stale:
        sys.exit(f"Out of date: {', '.join(map(str, stale))}. Run benchmarks/speed_tables.py.")
    print("\n".join(f"wrote {path}" for path in stale) or "All tables are up to date.")


if __name__ == "__main__":
    main()
