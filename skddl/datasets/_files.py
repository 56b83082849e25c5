"""Where the files of the data sets are, and what the loaders share."""

import os
from collections.abc import Sequence
from pathlib import Path

PathLike = str | os.PathLike[str]


def find_files(
    data_home: PathLike | None,
    folders: Sequence[str],
    names: Sequence[str],
    source: str,
    *,
    suffixes: Sequence[str] = ("",),
) -> list[Path]:
    """Return the paths of `names` in the first of `folders` that holds all of them.

    `folders` are relative to `data_home`; each name may carry one of `suffixes`; `source` tells the
    user where the files come from.
    """
    home, origin = resolve_data_home(data_home)
    if home is not None:
        for folder in folders:
            candidates = [[home / folder / (name + end) for end in suffixes] for name in names]
            found = [[path for path in paths if path.is_file()] for paths in candidates]
            if all(found):
                return [paths[0] for paths in found]
        searched = ", ".join(str(home / folder) for folder in folders)
    else:
        searched = "nowhere"
    raise FileNotFoundError(
        f"The files {', '.join(names)} are missing. Searched: {searched} ({origin}). "
        f"skddl downloads nothing: get the files from {source}, put them into a folder named "
        f"{folders[0]!r}, and pass the folder above it as data_home, or name that one in the "
        "environment variable SKDDL_DATA."
    )


def check_option(name: str, value: object, options: Sequence[str]) -> None:
    """Raise ValueError if `value` is not one of `options`."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}.")


def resolve_data_home(data_home: PathLike | None) -> tuple[Path | None, str]:
    """Return the folder of all data sets, if any, and what named it."""
    if data_home is not None:
        return Path(data_home).expanduser(), "the argument data_home"
    if os.environ.get("SKDDL_DATA"):
        return Path(os.environ["SKDDL_DATA"]).expanduser(), "the environment variable SKDDL_DATA"
    root = Path(__file__).parents[2]
    # Without this test an installed package would search beside its site-packages.
    if (root / "pyproject.toml").is_file() and (root.parent / "shared" / "data").is_dir():
        return root.parent / "shared" / "data", "the default of a source checkout"
    return None, "data_home is None and the environment variable SKDDL_DATA is not set"
