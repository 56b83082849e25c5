"""Triton kernels of the batched active-set method: one program per sample.

They see a problem whose lambda1 is 1, ``min_a  1/2 a H a' - b a' + ||a||_1`` with
``H = D D' + lambda2 I`` and ``b = x D' / lambda1`` (the code is ``lambda1 a``), so that no scalar
has to pass in float64: Triton would round it. Violations of optimality are then in units of
lambda1.

A support lives in slots: the atom, value and sign of each (a sign of 0 marks a free slot), and the
inverse of H on it, 0 in the rows and columns of free slots. The inverse is symmetric: products sum
over axis 0, which lies within a thread.
"""

import triton
import triton.language as tl

# What became of a sample. One that is unsolved after a launch needs more slots than that had.
UNSOLVED = tl.constexpr(0)
SOLVED = tl.constexpr(1)
STUCK = tl.constexpr(2)
EXHAUSTED = tl.constexpr(3)


@triton.jit
def _times(matrix, vector):
    """Product of a symmetric matrix and a vector."""
    return tl.sum(matrix * vector[:, None], axis=0)


@triton.jit
def _expressed(hessian_ptr, n_atoms, inverse, atoms, used, atom):
    """Express `atom` by those in use: coefficients, what is left of H there, and H there."""
    atom = tl.cast(atom, tl.int64)  # H may have more than 2**31 entries
    column = tl.load(hessian_ptr + atom * n_atoms + atoms, mask=used, other=0.0)
    coefficients = _times(inverse, column)
    diagonal = tl.load(hessian_ptr + atom * n_atoms + atom)
    return coefficients, diagonal - tl.sum(column * coefficients, axis=0), diagonal


@triton.jit
def _bordered(inverse, coefficients, pivot, slots, slot):
    """Inverse after the atom so expressed has taken `slot`."""
    border = tl.where(slots == slot, -1.0, coefficients)
    return inverse + border[:, None] * (border / pivot)[None, :]


@triton.jit
def _without(inverse, slots, slot):
    """Inverse after the atom in `slot` has left."""
    column = tl.sum(tl.where(slots[:, None] == slot, inverse, 0.0), axis=0)
    pivot = tl.sum(tl.where(slots == slot, column, 0.0), axis=0)
    smaller = inverse - column[:, None] * (column / pivot)[None, :]
    return tl.where((slots[:, None] == slot) | (slots[None, :] == slot), 0.0, smaller)


@triton.jit
def _reach(values, change, shrinks):
    """How many times `change` brings the first of the entries that shrink to zero, and which."""
    reach = tl.maximum(values / tl.where(shrinks, -change, 1.0), 0.0)
    return tl.min(tl.where(shrinks, reach, float("inf")), axis=0, return_indices=True)


@triton.jit
def _largest(vector_ptr, n_atoms, zero, POSITIVE: tl.constexpr, BLOCK: tl.constexpr):
    """Largest magnitude (or value, if positive) of a vector in memory, and where."""
    largest = zero - 1
    where = 0
    for start in range(0, n_atoms, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        size = tl.load(vector_ptr + columns, mask=columns < n_atoms, other=0.0)
        if not POSITIVE:
            size = tl.abs(size)
        here, index = tl.max(size, axis=0, return_indices=True)
        where = tl.where(here > largest, start + index, where)
        largest = tl.maximum(largest, here)
    return largest, where


@triton.jit
def list_support(
    codes_ptr,
    atoms_ptr,
    values_ptr,
    counts_ptr,
    n_atoms,
    POSITIVE: tl.constexpr,
    WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The first WIDTH atoms in use of a code, in their order, and the number of all."""
    row = tl.program_id(0).to(tl.int64)
    count = 0
    for start in range(0, n_atoms, BLOCK):
        columns = start + tl.arange(0, BLOCK)
        values = tl.load(codes_ptr + row * n_atoms + columns, mask=columns < n_atoms, other=0.0)
        used = (values > 0) if POSITIVE else (values != 0)
        slots = count + tl.cumsum(used.to(tl.int32), axis=0) - 1
        fits = used & (slots < WIDTH)
        tl.store(atoms_ptr + row * WIDTH + slots, columns, mask=fits)
        tl.store(values_ptr + row * WIDTH + slots, values, mask=fits)
        count += tl.sum(used.to(tl.int32), axis=0)
    tl.store(counts_ptr + row, count)


@triton.jit(do_not_specialize=["max_rounds"])
def active_set(
    linear_ptr,
    hessian_ptr,
    atoms_ptr,
    values_ptr,
    counts_ptr,
    status_ptr,
    correlation_ptr,
    codes_ptr,
    n_atoms,
    tol,
    max_rounds,
    POSITIVE: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
    IS_LAST: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    ENTER: tl.constexpr,
    SINGULAR: tl.constexpr,
    ROUNDING: tl.constexpr,
):
    """Solve an unsolved sample from the support that is listed for it."""
    row = tl.program_id(0).to(tl.int64)
    status = tl.load(status_ptr + row)
    n_start = tl.load(counts_ptr + row)
    if (status != UNSOLVED) | (n_start > SLOTS):
        return
    linear_ptr += row * n_atoms
    correlation_ptr += row * n_atoms
    codes_ptr += row * n_atoms
    atoms_ptr += row * WIDTH
    values_ptr += row * WIDTH

    slots = tl.arange(0, SLOTS)
    atoms = tl.load(atoms_ptr + slots, mask=slots < n_start, other=0)
    values = tl.load(values_ptr + slots, mask=slots < n_start, other=0.0)
    zero = tl.sum(values, axis=0) * 0
    signs = tl.zeros_like(values)
    inverse = tl.zeros([SLOTS, SLOTS], dtype=values.dtype)
    for slot in range(n_start):
        coefficients, pivot, diagonal = _expressed(
            hessian_ptr, n_atoms, inverse, atoms, signs != 0, tl.load(atoms_ptr + slot)
        )
        if pivot > SINGULAR * diagonal:
            inverse = _bordered(inverse, coefficients, pivot, slots, slot)
            signs = tl.where(slots == slot, tl.where(values < 0, -1.0, 1.0), signs)
    values = tl.where(signs != 0, values, 0.0)

    scale, _ = _largest(linear_ptr, n_atoms, zero, False, BLOCK)
    tolerance = tl.maximum(zero + tol, ROUNDING * scale)
    rounds = 0
    stalls = 0
    running = 1
    # Each barrier parts loads of memory from stores of other threads.
    tl.debug_barrier()
    while running == 1:
        # The correlations b - a H, from the codes as they are: no error is carried along.
        tl.store(atoms_ptr + slots, atoms)
        tl.store(values_ptr + slots, values)
        tl.debug_barrier()
        n_slots = tl.max(tl.where(signs != 0, slots + 1, 0), axis=0)
        for start in range(0, n_atoms, BLOCK):
            columns = start + tl.arange(0, BLOCK)
            inside = columns < n_atoms
            explained = tl.zeros([BLOCK], dtype=values.dtype)
            for first in range(0, n_slots, ROWS):
                some = first + tl.arange(0, ROWS)
                rows = tl.load(atoms_ptr + some).to(tl.int64) * n_atoms
                weights = tl.load(values_ptr + some)
                tile = tl.load(
                    hessian_ptr + rows[:, None] + columns[None, :], mask=inside[None, :], other=0.0
                )
                explained += tl.sum(tile * weights[:, None], axis=0)
            linear = tl.load(linear_ptr + columns, mask=inside, other=0.0)
            tl.store(correlation_ptr + columns, linear - explained, mask=inside)
        tl.debug_barrier()
        used = signs != 0
        gap = tl.where(used, tl.load(correlation_ptr + atoms, mask=used, other=0.0) - signs, 0.0)
        error = tl.max(tl.abs(gap), axis=0)
        # Atoms in use are no candidates.
        tl.debug_barrier()
        tl.store(correlation_ptr + atoms, tl.zeros_like(values), mask=used)
        tl.debug_barrier()
        worst, atom = _largest(correlation_ptr, n_atoms, zero, POSITIVE, BLOCK)
        worst -= 1

        rounds += 1
        entering = 0
        if (worst <= tolerance) & (error <= tolerance):
            running = 0
            status = SOLVED
        elif rounds > max_rounds:
            running = 0
            status = EXHAUSTED
        # On a solved support the step is sure to move an entering atom in its direction. More of
        # them are let in at a time: those that would move the other way leave again at once.
        elif (worst > tolerance) & (error <= tl.maximum(tolerance, 0.1 * worst)):
            entering = ENTER
        stalls = tl.where(entering > 0, 0, stalls + 1)

        enough = 0.5 * worst
        is_first = 1
        while entering > 0:
            free = tl.min(tl.where(signs == 0, slots, SLOTS), axis=0)
            sign = tl.where(tl.load(correlation_ptr + atom) < 0, zero - 1, zero + 1)
            coefficients, pivot, diagonal = _expressed(
                hessian_ptr, n_atoms, inverse, atoms, signs != 0, atom
            )
            value = zero
            if (pivot <= SINGULAR * diagonal) & (is_first == 1):
                # The atom (nearly) depends on those in use: let it replace them, at no change of
                # what they add up to, until one of them is used up and leaves.
                change = -sign * coefficients
                step, leaving = _reach(values, change, change * signs < 0)
                if (step < float("inf")) & (step * pivot <= worst):
                    values = tl.where(slots == leaving, 0.0, values + step * change)
                    signs = tl.where(slots == leaving, 0.0, signs)
                    gap = tl.where(slots == leaving, 0.0, gap)
                    inverse = _without(inverse, slots, leaving)
                    coefficients, pivot, diagonal = _expressed(
                        hessian_ptr, n_atoms, inverse, atoms, signs != 0, atom
                    )
                    value = step * sign
                    free = leaving
            if pivot <= SINGULAR * diagonal:
                entering = 0
                if is_first == 1:
                    running = 0
                    status = STUCK
            elif free == SLOTS:
                entering = 0
                if is_first == 1:
                    running = 0
            else:
                inverse = _bordered(inverse, coefficients, pivot, slots, free)
                atoms = tl.where(slots == free, atom, atoms)
                values = tl.where(slots == free, value, values)
                signs = tl.where(slots == free, sign, signs)
                gap = tl.where(slots == free, sign * worst, gap)
                entering -= 1
            is_first = 0
            if entering > 0:
                tl.debug_barrier()
                tl.store(correlation_ptr + atom, zero)
                tl.debug_barrier()
                worst, atom = _largest(correlation_ptr, n_atoms, zero, POSITIVE, BLOCK)
                worst -= 1
                if worst <= tl.maximum(tolerance, enough):
                    entering = 0

        # Newton's step to the optimum for these signs; where an entry would cross zero, it leaves.
        moving = running
        while moving == 1:
            step = _times(inverse, gap)
            length, leaving = _reach(values, step, (values + step) * signs < 0)
            if length < 1:
                values = tl.where(slots == leaving, 0.0, values + length * step)
                signs = tl.where(slots == leaving, 0.0, signs)
                gap = tl.where(slots == leaving, 0.0, (1 - length) * gap)
                inverse = _without(inverse, slots, leaving)
                stalls = 0
            else:
                values += step
                moving = 0
        # A few steps undo the rounding of the inverse; what they leave is that of the data.
        if (running == 1) & (stalls > 4):
            running = 0
            status = STUCK

    used = signs != 0
    tl.store(status_ptr + row, status)
    tl.store(counts_ptr + row, tl.sum(used.to(tl.int32), axis=0))
    tl.store(atoms_ptr + slots, atoms)
    tl.store(values_ptr + slots, values)
    if IS_LAST or status != UNSOLVED:
        tl.store(codes_ptr + atoms, values, mask=used)


@triton.jit
def solve_on_support(
    hessian_ptr,
    atoms_ptr,
    rhs_ptr,
    counts_ptr,
    solution_ptr,
    n_atoms,
    FEWER: tl.constexpr,
    SLOTS: tl.constexpr,
    WIDTH: tl.constexpr,
    ROOT_EPS: tl.constexpr,
):
    """Solve ``H_SS v = rhs_S`` for a sample of more than FEWER and at most SLOTS atoms S in use.

    A nearly singular system gets the ridge of `SupportSystem`: atoms enter in the same order, so
    that the pivots are those of its Cholesky factor. An inverse loses twice the digits that such a
    factor does, hence float64.
    """
    row = tl.program_id(0).to(tl.int64)
    count = tl.load(counts_ptr + row)
    if (count <= FEWER) | (count > SLOTS):
        return
    slots = tl.arange(0, SLOTS)
    used = slots < count
    atoms = tl.load(atoms_ptr + row * WIDTH + slots, mask=used, other=0).to(tl.int64)
    rhs = tl.load(rhs_ptr + row * n_atoms + atoms, mask=used, other=0.0).to(tl.float64)
    diagonals = tl.load(hessian_ptr + atoms * (n_atoms + 1), mask=used, other=0.0)
    least = ROOT_EPS * tl.max(diagonals.to(tl.float64), axis=0)

    ridge = least * 0
    inverse = tl.zeros([SLOTS, SLOTS], dtype=tl.float64)
    attempts = 2
    while attempts > 0:
        inverse = tl.zeros([SLOTS, SLOTS], dtype=tl.float64)
        smallest = least
        for slot in range(count):
            coefficients, pivot, _ = _expressed(
                hessian_ptr,
                n_atoms,
                inverse,
                atoms,
                slots < slot,
                tl.load(atoms_ptr + row * WIDTH + slot),
            )
            pivot += ridge
            smallest = tl.minimum(smallest, pivot)
            # A pivot that is not positive spoils the rest: the ridge comes next.
            pivot = tl.where(pivot > 0, pivot, least)
            inverse = _bordered(inverse, coefficients, pivot, slots, slot)
        attempts -= 1
        if smallest >= least:
            attempts = 0
        if attempts > 0:
            ridge += least - tl.maximum(smallest, 0.0)

    both = used[:, None] & used[None, :]
    matrix = tl.load(hessian_ptr + atoms[:, None] * n_atoms + atoms[None, :], mask=both, other=0.0)
    solution = _times(inverse, rhs)
    for _ in range(2):
        solution += _times(inverse, rhs - ridge * solution - _times(matrix, solution))
    tl.store(solution_ptr + row * n_atoms + atoms, solution, mask=used)
