"""What Python does meanwhile: ``python -m tests.reliability.audited FOLDER`` reads all files there.

As models and as checkpoints; then it learns with a checkpoint beside FOLDER. It prints, in JSON,
what would change a file, start a process or run code, by Python's audit events.
"""

import json
import os
import sys
import warnings
from pathlib import Path

from sklearn.base import clone

import skddl

from .small_models import MODELS, X, y

CHANGES = {
    *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.chmod"),
    *("os.chown", "os.truncate", "os.utime", "os.system", "os.exec", "os.fork", "os.posix_spawn"),
    *("subprocess.Popen", "shutil.rmtree", "socket.connect", "socket.bind", "pickle.find_class"),
    *("marshal.loads", "exec", "compile", "import", "ctypes.dlopen", "urllib.Request"),
}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
KINDS = ("dense", "online", "task-driven, network first")
events = []


def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int):
        if arguments[2] & WRITING:
            events.append([event, str(arguments[0])])
    elif event in CHANGES:
        events.append([event, *(str(a) for a in arguments if isinstance(a, str | bytes | Path))])


def is_refused(function, *arguments):
    try:
        function(*arguments)
    except ValueError:
        return True
    return False


def fit(name, checkpoint):
    return clone(MODELS[name]).set_params(checkpoint=checkpoint).fit(X, y)


def use_all_once(path):
    """Whatever is imported or compiled at the first use is so afterwards."""
    for name in KINDS:
        fit(name, path)
        fit(name, path).save(path)
        skddl.load(path)
        for written in path.parent.glob(f"{path.name}*"):
            written.unlink()


def read_all(folder):
    """The number of files that are models."""
    n_models = 0
    for path in sorted(folder.iterdir()):
        n_models += not is_refused(skddl.load, path)
        is_refused(fit, "dense", path)
    return n_models


def write_checkpoints(path):
    """The files that there are afterwards."""
    written = []
    for name in KINDS:
        fit(name, path)
        fit(name, path)
        for file in path.parent.glob(f"{path.name}*"):
            written.append(str(file))
            file.unlink()
    return written


def main():
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    use_all_once(folder.parent / "warm")
    modules = set(sys.modules)
    sys.addaudithook(watch)
    found = {"models": read_all(folder), "reading": events.copy()}
    events.clear()
    found["written"] = write_checkpoints(folder.parent / "fit.checkpoint")
    found["writing"] = events.copy()
    found["modules"] = sorted(set(sys.modules) - modules)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
