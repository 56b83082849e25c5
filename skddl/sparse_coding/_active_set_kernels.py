"""Compiled arithmetic of the active-set solver: the code of one sample.

What a sample gets depends neither on where the solver starts nor on the way that it takes: a code
ends as the exact solution on its support in sorted order. Decisions that rounding could turn are
taken in float64, also for float32 data.
"""

import math

import numpy as np
from numba import njit

# Sums may be reordered, so that they are vectorised. Infinite values keep their meaning.
FASTMATH = {"reassoc", "contract", "nsz", "arcp", "nnan"}
# Atoms that enter at a time: those with this share of the worst violation, at most so many. More of
# them make fewer rounds, in which more have to leave again.
_ENTER, _SHARE = 6, 0.5
# A pivot, relative to the diagonal, below so many eps is rounding alone: the atom depends on those
# before it.
_PIVOT_EPS = 16
# Rounding error of a correlation, in eps (||x|| + ||a||_1) for unit atoms. At most 5 were seen.
_NOISE_EPS = 20
# What is decided at last is decided in float64: residual on the support and violation off it,
# in units of lambda1.
_EXACT = 1e-9
# Newton steps on one support, and supports, until that holds: rarely more than 2 and 3.
_MAX_NEWTON, _MAX_FINAL = 6, 20
# Outcomes of a sample, where it is not the size of its support.
FAILED, NO_ROOM = -1, -2


# All ends in the code of a loop. Functions that stay apart are found by name: which of several
# copies a loop calls, and with it last digits, would depend on whether it was compiled by this
# process or came from the cache. By LLVM, or by numba where there is one place that calls.
jit = njit(fastmath=FASTMATH, error_model="numpy", forceinline=True)
jit_once = njit(fastmath=FASTMATH, error_model="numpy", inline="always")


@jit
def correlate(X, first, transposed, out):
    """Correlations of four samples with all atoms; after the last sample, of the last one again."""
    last = len(X) - 1
    n_features, n_components = transposed.shape
    x0, x1 = X[first], X[min(first + 1, last)]
    x2, x3 = X[min(first + 2, last)], X[min(first + 3, last)]
    out[:] = 0
    whole = n_features - n_features % 4
    for f in range(0, whole, 4):
        # Written out, for the registers: sixteen products for each four values that are read.
        a0, a1, a2, a3 = x0[f], x0[f + 1], x0[f + 2], x0[f + 3]
        b0, b1, b2, b3 = x1[f], x1[f + 1], x1[f + 2], x1[f + 3]
        c0, c1, c2, c3 = x2[f], x2[f + 1], x2[f + 2], x2[f + 3]
        d0, d1, d2, d3 = x3[f], x3[f + 1], x3[f + 2], x3[f + 3]
        for j in range(n_components):
            t0, t1 = transposed[f, j], transposed[f + 1, j]
            t2, t3 = transposed[f + 2, j], transposed[f + 3, j]
            out[0, j] += a0 * t0 + a1 * t1 + a2 * t2 + a3 * t3
            out[1, j] += b0 * t0 + b1 * t1 + b2 * t2 + b3 * t3
            out[2, j] += c0 * t0 + c1 * t1 + c2 * t2 + c3 * t3
            out[3, j] += d0 * t0 + d1 * t1 + d2 * t2 + d3 * t3
    for f in range(whole, n_features):
        for j in range(n_components):
            t0 = transposed[f, j]
            out[0, j] += x0[f] * t0
            out[1, j] += x1[f] * t0
            out[2, j] += x2[f] * t0
            out[3, j] += x3[f] * t0


@jit
def _factorise(factor, support, first, size, gram, lambda2, pivot_floor):
    """Rows `first` to `size` of the Cholesky factor, packed, with inverse diagonal.

    The number of the first row that failed, or `size`.
    """
    for row in range(first, size):
        atom = support[row]
        start = row * (row + 1) // 2
        square = 0.0
        for i in range(row):
            above = i * (i + 1) // 2
            value = np.float64(gram[atom, support[i]])
            for q in range(i):
                value -= factor[above + q] * factor[start + q]
            value *= factor[above + i]
            factor[start + i] = value
            square += value * value
        diagonal = gram[atom, atom] + lambda2
        pivot = diagonal - square
        if not pivot > pivot_floor * diagonal:
            return row
        factor[start + row] = 1 / math.sqrt(pivot)
    return size


@jit
def solve_lower(factor, rhs, first, size, out):
    """Entries `first` to `size` of ``L^-1 rhs``, given those before."""
    for row in range(first, size):
        start = row * (row + 1) // 2
        value = rhs[row]
        for q in range(row):
            value -= factor[start + q] * out[q]
        out[row] = value * factor[start + row]


@jit
def solve_upper(factor, size, values):
    """``L^-T values``, in place."""
    for row in range(size - 1, -1, -1):
        start = row * (row + 1) // 2
        value = values[row] * factor[start + row]
        values[row] = value
        for q in range(row):
            values[q] -= factor[start + q] * value


@jit
def subtract_rows(values, matrix, rows, weights, size):
    """``values -= sum of weights[i] * matrix[rows[i]]``, four rows at a time, in values' type."""
    one = values.dtype.type
    length = len(values)
    whole = size - size % 4
    for i in range(0, whole, 4):
        w0, w1 = one(weights[i]), one(weights[i + 1])
        w2, w3 = one(weights[i + 2]), one(weights[i + 3])
        r0, r1, r2, r3 = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        for j in range(length):
            values[j] -= (
                w0 * matrix[r0, j] + w1 * matrix[r1, j] + w2 * matrix[r2, j] + w3 * matrix[r3, j]
            )
    for i in range(whole, size):
        w0, r0 = one(weights[i]), rows[i]
        for j in range(length):
            values[j] -= w0 * matrix[r0, j]


@jit
def _dot(row, values):
    total = 0.0
    for j in range(len(values)):
        total += row[j] * values[j]
    return total


@jit
def _largest(correlation, positive):
    """Largest correlation, in absolute value unless `positive`; at least 0."""
    largest = correlation.dtype.type(0)
    if positive:
        for j in range(len(correlation)):
            largest = max(largest, correlation[j])
    else:
        for j in range(len(correlation)):
            largest = max(largest, abs(correlation[j]))
    return largest


@jit
def _insert(candidates, strengths, count, limit, atom, strength):
    """Put `atom` among the at most `limit` strongest candidates, strongest first; their number."""
    if count == limit:
        if strength <= strengths[count - 1]:
            return count
        count -= 1
    place = count
    while place > 0 and strengths[place - 1] < strength:
        candidates[place], strengths[place] = candidates[place - 1], strengths[place - 1]
        place -= 1
    candidates[place], strengths[place] = atom, strength
    return count + 1


@jit
def _sort(support, sign, size):
    """Sort atoms and signs by atom; the first place that changed, or `size`."""
    first = size
    for i in range(1, size):
        atom, its_sign = support[i], sign[i]
        place = i
        while place > 0 and support[place - 1] > atom:
            support[place], sign[place] = support[place - 1], sign[place - 1]
            place -= 1
        support[place], sign[place] = atom, its_sign
        if place < i:
            first = min(first, place)
    return first


@jit
def _remove(support, sign, rhs, code, place, size):
    """Remove one of `size` slots."""
    for i in range(place, size - 1):
        support[i], sign[i], rhs[i], code[i] = support[i + 1], sign[i + 1], rhs[i + 1], code[i + 1]


@jit
def _exchange(factor, support, sign, code, work, size, gram):
    """Let in atom `size`, which is a combination of those before: they shrink as it grows.

    What the code stands for stays the same, and its l1 norm falls, until one of them is zero:
    which one, or -1 if none shrinks.
    """
    atom = support[size]
    for i in range(size):
        work[i] = gram[atom, support[i]]
    solve_lower(factor, work, 0, size, work)
    solve_upper(factor, size, work)
    leaves, step = -1, np.inf
    for i in range(size):
        rate = sign[size] * sign[i] * work[i]
        if rate > 0 and abs(code[i]) < step * rate:
            leaves, step = i, abs(code[i]) / rate
    if leaves >= 0:
        code[size] = sign[size] * step
        for i in range(size):
            code[i] -= step * sign[size] * work[i]
    return leaves


@jit_once
def solve_sample(
    x, correlations, dictionary, gram, lambda1, lambda2, positive, atom_norm, max_rounds,
    start, n_start, support, slots, factor, correlation, remainder,
):  # fmt: skip
    """Code of one sample: the size of its support, or why there is none; and its KKT residual.

    Besides, whether it is final, that is, all but rounded: then `factor` and `remainder`, which is
    what the code leaves of the sample, are those of the support.

    The rest is for its use. `support` and `slots` hold the working set: atoms; and, in rows, their
    signs, right-hand sides, values, and two vectors of work.
    """
    sign, rhs, code, lower, work = slots[0], slots[1], slots[2], slots[3], slots[4]
    eps = np.finfo(correlations.dtype).eps
    pivot_floor = _PIVOT_EPS * eps
    room = len(support)
    candidates, strengths = np.empty(_ENTER, np.int64), np.empty(_ENTER)
    norm_x = math.sqrt(_dot(x, x))
    n_components = len(correlations)
    # A product below the smallest number of the type is lost.
    underflow = len(x) * float(np.finfo(correlations.dtype).tiny)

    size = 0
    if n_start + _ENTER > room:
        return NO_ROOM, np.inf, False
    for i in range(n_start):
        atom = abs(start[i]) - 1
        if not 0 <= atom < n_components or (positive and start[i] < 0):
            continue
        support[size], sign[size] = atom, math.copysign(1.0, start[i])
        rhs[size], code[size] = correlations[atom], 0.0
        size += 1

    factorised = solved = known = rounds = finals = 0
    before = np.inf
    cautious = False
    while True:
        # The minimiser for the present support and signs: L L' a = c_S - lambda1 s.
        factorised = _factorise(factor, support, factorised, size, gram, lambda2, pivot_floor)
        if factorised < size:
            # An atom that depends on those before it.
            if factorised < known:
                return FAILED, np.inf, False
            if factorised == known > 0:
                # It improves on the whole of a solved support: it takes the place of one of them.
                leaves = _exchange(factor, support, sign, code, work, known, gram)
                if leaves < 0:
                    return FAILED, np.inf, False
                size = known + 1  # weaker candidates have to wait
                _remove(support, sign, rhs, code, leaves, size)
                factorised, solved = leaves, min(solved, leaves)
            else:
                _remove(support, sign, rhs, code, factorised, size)
            size -= 1
            known = min(known, size)
            continue
        for i in range(solved, size):
            work[i] = rhs[i] - lambda1 * sign[i]
        solve_lower(factor, work, solved, size, lower)
        solved = size
        work[:size] = lower[:size]
        solve_upper(factor, size, work)

        leaves = -1
        for i in range(size):
            if work[i] * sign[i] <= 0:
                leaves = i
                break
        if leaves >= 0:
            if cautious:
                # As far as the first entry that becomes zero: that lowers the objective.
                step = 1.0
                for i in range(leaves, size):
                    if work[i] * sign[i] <= 0:
                        way = code[i] - work[i]
                        share = code[i] / way if way != 0 else 0.0
                        if share < step or i == leaves:
                            step, leaves = share, i
                for i in range(size):
                    code[i] += step * (work[i] - code[i])
            kept = leaves
            for i in range(leaves, size):
                if i == leaves or (not cautious and work[i] * sign[i] <= 0):
                    continue
                support[kept], sign[kept] = support[i], sign[i]
                rhs[kept], code[kept] = rhs[i], code[i]
                kept += 1
            size = known = kept
            factorised, solved = min(factorised, leaves), leaves
            continue

        objective = 0.0
        for i in range(size):
            code[i] = work[i]
            objective -= (rhs[i] - lambda1 * sign[i]) * code[i]
        # Several atoms that enter or leave at once may lead in a circle. One at a time they do not,
        # unless what is gained is less than the objective is rounded by.
        stalled = cautious and not objective < before
        cautious = cautious or not objective < before
        before = objective

        norm_code = 0.0
        for i in range(size):
            norm_code += abs(code[i])
        noise = _NOISE_EPS * eps * atom_norm * (norm_x + atom_norm * norm_code) + underflow
        correlation[:] = correlations
        subtract_rows(correlation, gram, support, code, size)
        for i in range(size):  # these are as they have to be
            correlation[support[i]] = 0
        worst = _largest(correlation, positive) - lambda1
        if rounds == max_rounds:
            return size, (max(worst, 0.0) + noise) / lambda1, False
        rounds += 1
        count = 0
        if worst > noise and not stalled:
            limit = 1 if cautious else _ENTER
            bound = lambda1 + (1.0 if cautious else _SHARE) * worst
            for j in range(n_components):
                strength = correlation[j] if positive else abs(correlation[j])
                if strength >= bound:
                    count = _insert(candidates, strengths, count, limit, j, strength)
            for i in range(count):
                rhs[size + i] = correlations[candidates[i]]
                sign[size + i] = math.copysign(1.0, correlation[candidates[i]])
        else:
            # All is decided but for rounding. From here on in float64, and in sorted order.
            finals += 1
            if finals > _MAX_FINAL:
                return FAILED, np.inf, False
            first = _sort(support, sign, size)
            factorised = _factorise(factor, support, first, size, gram, lambda2, pivot_floor)
            if factorised < size:
                return FAILED, np.inf, False
            for i in range(size):
                rhs[i] = correlations[support[i]]
                work[i] = rhs[i] - lambda1 * sign[i]
            solve_lower(factor, work, 0, size, code)
            solve_upper(factor, size, code)
            floor = max(_EXACT * lambda1, noise / eps * np.finfo(np.float64).eps)
            residual = np.inf
            for _ in range(_MAX_NEWTON):
                remainder[:] = x
                subtract_rows(remainder, dictionary, support, code, size)
                residual = 0.0
                for i in range(size):
                    # What is left goes into the right-hand side, which is then that of the
                    # exact problem, at this code.
                    work[i] = _dot(dictionary[support[i]], remainder)
                    work[i] -= lambda2 * code[i] + lambda1 * sign[i]
                    residual = max(residual, abs(work[i]))
                if residual <= floor:
                    break
                for i in range(size):
                    rhs[i] += work[i]
                solve_lower(factor, work, 0, size, lower)
                solve_upper(factor, size, lower)
                for i in range(size):
                    code[i] += lower[i]
            if residual > floor:
                return FAILED, np.inf, False
            before = np.inf
            solved = 0
            turned = False
            for i in range(size):
                turned = turned or code[i] * sign[i] <= 0
            if turned:
                continue
            worst = residual
            for j in range(n_components):
                strength = correlation[j] if positive else abs(correlation[j])
                if strength > lambda1 - noise:
                    exact = _dot(dictionary[j], remainder)
                    violation = (exact if positive else abs(exact)) - lambda1
                    worst = max(worst, violation)
                    if violation > floor:
                        count = _insert(candidates, strengths, count, _ENTER, j, violation)
            if count == 0:
                # Rounding the code to its type moves the correlations by at most this.
                rounding = 0.5 * eps * (atom_norm * atom_norm + lambda2) * norm_code
                return size, (worst + rounding) / lambda1, True
            for i in range(count):
                atom = candidates[i]
                exact = _dot(dictionary[atom], remainder)
                sign[size + i] = math.copysign(1.0, exact)
                rhs[size + i] = exact
                for q in range(size):
                    rhs[size + i] += gram[atom, support[q]] * code[q]
        if size + count + _ENTER > room:
            return NO_ROOM, np.inf, False
        known = size
        for i in range(count):
            support[size], code[size] = candidates[i], 0.0
            size += 1
