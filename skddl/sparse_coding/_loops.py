"""Compiled loops: over atoms, for their Gram matrix; over samples, for codes and their derivative.

A loop is a C function of one pointer, to a record that says where its arrays are. Threads that call
it with the same record share the work among them.
"""

import functools
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import _active_set_kernels
from ._active_set_kernels import (
    FAILED,
    FASTMATH,
    NO_ROOM,
    correlate,
    jit,
    jit_once,
    solve_lower,
    solve_sample,
    solve_upper,
    subtract_rows,
)
from ._job import LINE, RECORD

# Samples, or rows of the Gram matrix, that share their way through the atoms; and columns of the
# gradient of the dictionary that a thread takes at a time.
_ROWS, _COLUMNS = 4, 32


_intrinsic: Any = intrinsic  # whose type does not tell that the first argument goes


@_intrinsic
def _as_pointer(typingctx: Any, address: Any) -> Any:
    """A pointer to `address`."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@_intrinsic
def _fetch_and_add(typingctx: Any, address: Any, amount: Any) -> Any:
    """Add to the int64 at `address`, atomically; its value before."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "monotonic")

    return types.int64(types.int64, types.int64), codegen


@jit
def _aligned(size, dtype):
    """An array that begins with a line of the cache, so that vectors do not lie across two."""
    values = np.empty(size + LINE, dtype)
    skip = -values.ctypes.data % (4 * LINE) // values.itemsize
    return values[skip : skip + size]


@jit_once
def _pack(job, dictionary, packed):
    """Atoms by columns, a line of the cache for as many atoms, zeros after the last of them."""
    n_components, n_features = dictionary.shape
    lines = job.block // LINE
    while True:
        item = _fetch_and_add(job.counters, 1)
        if item >= job.n_blocks * lines:
            break
        block, place, first = item // lines, item % lines * LINE, item * LINE
        some = dictionary[first : min(first + LINE, n_components)]
        for f in range(n_features):
            line = packed[block, f, place : place + LINE]
            for j in range(len(some)):
                line[j] = some[j, f]
            line[len(some) :] = 0


@jit
def _form_rows(dictionary, columns, top, left, right, tile, gram):
    """Four rows of the Gram matrix from `top`, columns `left` to `right` from the diagonal on.

    They are mirrored. `columns` are the atoms of these columns, by columns.
    """
    bottom = min(top + _ROWS, len(dictionary))
    correlate(dictionary, top, columns, tile)
    begin = max(left, top)
    for i in range(top, bottom):
        row, values = gram[i, begin:right], tile[i - top, begin - left :]
        for j in range(len(row)):
            row[j] = values[j]
    begin = max(left, bottom)
    below = gram[begin:right]
    v0, v1 = tile[0, begin - left :], tile[1, begin - left :]
    v2, v3 = tile[2, begin - left :], tile[3, begin - left :]
    for j in range(len(below)):  # none, where there are fewer than four rows
        row = below[j, top : top + 4]
        row[0], row[1], row[2], row[3] = v0[j], v1[j], v2[j], v3[j]


@jit_once
def _form_gram(job, dictionary, packed, gram):
    """The Gram matrix, block by block of columns, of which only one half is computed.

    A thread takes as many rows as fill a line of the cache where they are mirrored: lines that two
    threads write to would go to and fro between their cores.
    """
    n_components = len(dictionary)
    tile = _aligned(_ROWS * job.block, dictionary.dtype).reshape((_ROWS, job.block))
    block = before = 0  # items before this block
    while True:
        item = _fetch_and_add(job.counters, 1)
        while block < job.n_blocks:
            left, right = block * job.block, min((block + 1) * job.block, n_components)
            n_items = -(-right // LINE)
            if item < before + n_items:
                break
            before += n_items
            block += 1
        if block == job.n_blocks:
            break
        first = (item - before) * LINE
        for top in range(first, min(first + LINE, right), _ROWS):
            _form_rows(dictionary, packed[block], top, left, right, tile, gram)


@jit_once
def _encode(job, X, dictionary, packed, gram, init, codes, remainders):
    """Codes of the samples that this thread takes."""
    n_samples, n_features, n_components = job.n_samples, job.n_features, job.n_components
    residuals = carray(_as_pointer(job.residuals), n_samples, np.float64)
    supports = carray(_as_pointer(job.supports), (n_samples, job.width), np.int32)
    sizes = carray(_as_pointer(job.sizes), n_samples, np.int32)
    factors = carray(_as_pointer(job.factors), n_samples * job.room, np.float64)
    offsets = carray(_as_pointer(job.offsets), n_samples, np.int64)
    singular = math.sqrt(np.finfo(gram.dtype).eps)

    room = 64
    support, slots = np.empty(room, np.int64), np.empty((5, room))
    factor = np.empty(room * (room + 1) // 2)
    tile = _aligned(_ROWS * job.block, X.dtype).reshape((_ROWS, job.block))
    correlations = np.empty((_ROWS, n_components), X.dtype)
    correlation, remainder = _aligned(n_components, X.dtype), np.empty(n_features)
    start = np.empty(max(n_components, job.width), np.int32)
    while True:
        first = _fetch_and_add(job.counters, _ROWS)
        if first >= n_samples:
            break
        for block in range(job.n_blocks):
            left = block * job.block
            correlate(X, first, packed[block], tile)
            for i in range(_ROWS):
                part, values = correlations[i, left : left + job.block], tile[i]
                for j in range(len(part)):
                    part[j] = values[j]
        used, last = 0, min(first + _ROWS, n_samples)
        for i in range(first, last):
            n_start = 0
            if job.init:
                for j in range(n_components):
                    if init[i, j] != 0:
                        start[n_start] = j + 1 if init[i, j] > 0 else -(j + 1)
                        n_start += 1
            elif job.warm:
                n_start = max(0, min(sizes[i], job.width))
                start[:n_start] = supports[i, :n_start]
            while True:
                size, residual, final = solve_sample(
                    X[i], correlations[i - first], dictionary, gram,
                    job.lambda1, job.lambda2, job.positive != 0, job.atom_norm, job.max_rounds,
                    start, n_start,
                    support, slots, factor, correlation, remainder,
                )  # fmt: skip
                if size == FAILED and n_start:
                    n_start = 0  # the start may have been a bad one
                    continue
                if size != NO_ROOM:
                    break
                room *= 2
                support, slots = np.empty(room, np.int64), np.empty((5, room))
                factor = np.empty(room * (room + 1) // 2)
            residuals[i] = residual
            size = max(size, 0)
            for q in range(size):
                codes[i, support[q]] = slots[2, q]
            if not job.width:
                continue
            sizes[i] = size
            for q in range(min(size, job.width)):
                supports[i, q] = (support[q] + 1) * slots[0, q]
            if not job.room:
                continue
            # What the gradient needs, unless its system is nearly singular.
            scale = smallest = 0.0
            for q in range(size):
                scale = max(scale, gram[support[q], support[q]] + job.lambda2)
                smallest = max(smallest, factor[q * (q + 3) // 2])
            offsets[i] = -1
            if not final or size > job.width or smallest * smallest * singular * scale > 1:
                continue
            # In the room of the samples that this thread has taken: whether there is enough must
            # not depend on what the other threads have done meanwhile.
            offset, length = first * job.room + used, size * (size + 1) // 2
            if offset + length > last * job.room:
                continue
            used += length
            offsets[i] = offset
            factors[offset : offset + length] = factor[:length]
            remainders[i] = remainder


@jit_once
def _differentiate(job, dictionary, grad_codes, beta, grad_X):
    """Per sample, beta of Algorithm 1 of paper 1 in slots, and Eq. (12), ``dl/dx = D beta``."""
    n_samples = job.n_samples
    supports = carray(_as_pointer(job.supports), (n_samples, job.width), np.int32)
    sizes = carray(_as_pointer(job.sizes), n_samples, np.int32)
    factors = carray(_as_pointer(job.factors), n_samples * job.room, np.float64)
    offsets = carray(_as_pointer(job.offsets), n_samples, np.int64)
    atoms, right, work = np.empty(job.width, np.int64), np.empty(job.width), np.empty(job.width)
    while True:
        first = _fetch_and_add(job.counters, _ROWS)
        if first >= n_samples:
            break
        for i in range(first, min(first + _ROWS, n_samples)):
            grad_X[i] = 0
            if offsets[i] < 0:
                continue
            size = sizes[i]
            factor = factors[offsets[i] :]
            for q in range(size):
                atoms[q] = abs(supports[i, q]) - 1
                right[q] = grad_codes[i, atoms[q]]
            solve_lower(factor, right, 0, size, work)
            solve_upper(factor, size, work)
            for q in range(size):
                beta[i, q] = work[q]
                work[q] = -work[q]
            subtract_rows(grad_X[i], dictionary, atoms, work, size)


@jit_once
def _accumulate(job, codes, remainders, beta, grad_X, grad_dictionary):
    """Algorithm 1, last line: ``-D beta a' + (x - D a) beta'``, by columns, summed over samples."""
    n_samples, n_features = job.n_samples, job.n_features
    supports = carray(_as_pointer(job.supports), (n_samples, job.width), np.int32)
    sizes = carray(_as_pointer(job.sizes), n_samples, np.int32)
    offsets = carray(_as_pointer(job.offsets), n_samples, np.int64)
    while True:
        first = _fetch_and_add(job.counters, _COLUMNS)
        if first >= n_features:
            break
        last = min(first + _COLUMNS, n_features)
        grad_dictionary[:, first:last] = 0
        for i in range(n_samples):
            if offsets[i] < 0:
                continue
            remainder, grad_x = remainders[i, first:last], grad_X[i, first:last]
            for q in range(sizes[i]):
                atom = abs(supports[i, q]) - 1
                b, a = beta[i, q], codes[i, atom]
                grad_atom = grad_dictionary[atom, first:last]
                for f in range(len(grad_atom)):
                    grad_atom[f] += b * remainder[f] - a * grad_x[f]


@functools.cache
def get_loop(name: str, dtype: str) -> Any:
    """A loop, for arrays of "float32" or "float64".

    A C function, compiled unless that is cached on disk.
    """
    real = getattr(np, dtype)
    # What is closed over is part of the key of the cache, and numba looks at this file alone.
    version = zlib.crc32(Path(_active_set_kernels.__file__).read_bytes())

    def pack(pointer):
        _ = version
        job = carray(pointer, 1, RECORD)[0]
        packed_shape = (job.n_blocks, job.n_features, job.block)
        _fetch_and_add(job.counters + 8, 1)
        _pack(
            job,
            carray(_as_pointer(job.dictionary), (job.n_components, job.n_features), real),
            carray(_as_pointer(job.packed), packed_shape, real),
        )
        _fetch_and_add(job.counters + 8, -1)

    def form_gram(pointer):
        _ = version
        job = carray(pointer, 1, RECORD)[0]
        packed_shape = (job.n_blocks, job.n_features, job.block)
        _fetch_and_add(job.counters + 8, 1)
        _form_gram(
            job,
            carray(_as_pointer(job.dictionary), (job.n_components, job.n_features), real),
            carray(_as_pointer(job.packed), packed_shape, real),
            carray(_as_pointer(job.gram), (job.n_components, job.n_components), real),
        )
        _fetch_and_add(job.counters + 8, -1)

    def encode(pointer):
        _ = version
        job = carray(pointer, 1, RECORD)[0]
        packed_shape = (job.n_blocks, job.n_features, job.block)
        _fetch_and_add(job.counters + 8, 1)
        _encode(
            job,
            carray(_as_pointer(job.X), (job.n_samples, job.n_features), real),
            carray(_as_pointer(job.dictionary), (job.n_components, job.n_features), real),
            carray(_as_pointer(job.packed), packed_shape, real),
            carray(_as_pointer(job.gram), (job.n_components, job.n_components), real),
            carray(_as_pointer(job.init), (job.n_samples, job.n_components), real),
            carray(_as_pointer(job.codes), (job.n_samples, job.n_components), real),
            carray(_as_pointer(job.remainders), (job.n_samples, job.n_features), real),
        )
        _fetch_and_add(job.counters + 8, -1)

    def differentiate(pointer):
        _ = version
        job = carray(pointer, 1, RECORD)[0]
        _fetch_and_add(job.counters + 8, 1)
        _differentiate(
            job,
            carray(_as_pointer(job.dictionary), (job.n_components, job.n_features), real),
            carray(_as_pointer(job.grad_codes), (job.n_samples, job.n_components), real),
            carray(_as_pointer(job.beta), (job.n_samples, job.width), real),
            carray(_as_pointer(job.grad_X), (job.n_samples, job.n_features), real),
        )
        _fetch_and_add(job.counters + 8, -1)

    def accumulate(pointer):
        _ = version
        job = carray(pointer, 1, RECORD)[0]
        _fetch_and_add(job.counters + 8, 1)
        _accumulate(
            job,
            carray(_as_pointer(job.codes), (job.n_samples, job.n_components), real),
            carray(_as_pointer(job.remainders), (job.n_samples, job.n_features), real),
            carray(_as_pointer(job.beta), (job.n_samples, job.width), real),
            carray(_as_pointer(job.grad_X), (job.n_samples, job.n_features), real),
            carray(_as_pointer(job.grad_dictionary), (job.n_components, job.n_features), real),
        )
        _fetch_and_add(job.counters + 8, -1)

    loops = {loop.__name__: loop for loop in (pack, form_gram, encode, differentiate, accumulate)}
    compiling: Any = functools.partial(cfunc, types.void(types.voidptr), fastmath=FASTMATH)
    try:
        return compiling(cache=True)(loops[name])
    except RuntimeError:  # no folder for the cache can be written to
        return compiling()(loops[name])
