"""Ctrl-C at the first use: ``python -m tests.reliability.first_use import``, or ``compile``.

It comes in the midst of the import of numba, or while LLVM calls back, and prints whether it was
raised. Then all works as ever, or this fails.
"""

import signal
import sys

import numpy as np

from skddl.sparse_coding import kkt_residual, sparse_encode

X = np.random.default_rng(0).standard_normal((30, 8))


def encode():
    return sparse_encode(X, X[:12], lambda1=0.1)


def interrupt_import():
    waiting = ["numba.core.types"]

    def watch(event, arguments):
        if event == "import" and arguments[0] in waiting:
            waiting.clear()
            signal.raise_signal(signal.SIGINT)

    sys.addaudithook(watch)


def interrupt_compilation():
    from numba.core.codegen import CPUCodeLibrary

    compiled = CPUCodeLibrary._object_compiled_hook
    waiting = [True]

    def interrupt(cls, *arguments):
        if waiting:
            waiting.clear()
            signal.raise_signal(signal.SIGINT)
        return compiled(*arguments)

    CPUCodeLibrary._object_compiled_hook = classmethod(interrupt)


def main():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    {"import": interrupt_import, "compile": interrupt_compilation}[sys.argv[1]]()
    try:
        encode()
        print("not raised")
    except KeyboardInterrupt:
        print("raised")
    assert kkt_residual(X, X[:12], encode(), lambda1=0.1).max() < 1e-9


if __name__ == "__main__":
    main()
