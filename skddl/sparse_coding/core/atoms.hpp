// One round of block coordinate descent over the atoms of a dictionary.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "memory.hpp"

namespace skddl {

// Algorithm 2 of Mairal, Bach, Ponce and Sapiro (2010) over a block of atoms: each is minimised
// over in turn, the others being fixed, and brought back to the unit ball, or to its non-negative
// part. `gram` holds the means of the products of the block's codes, and `residual` = cross - gram
// D the negative gradient, as it was before the first of them moved. An atom without codes stays.
template <class T>
void update_atoms(const Rows<const T>& gram, const Rows<T>& residual, const Rows<T>& atoms,
                  bool positive) {
    const std::size_t n_features = atoms.n_columns;
    for (std::size_t j = 0; j < atoms.n_rows; ++j) {
        if (!(gram[j][j] > 0)) {
            std::fill_n(residual[j], n_features, T(0));
            continue;
        }
        T* const step = residual[j];
        // From here on a row of `residual` that is done holds by how much its atom has moved.
        for (std::size_t i = 0; i < j; ++i) {
            const T weight = gram[j][i];
            if (weight == 0) continue;
            const T* const moved = residual[i];
            for (std::size_t k = 0; k < n_features; ++k) step[k] -= weight * moved[k];
        }
        T* const atom = atoms[j];
        const T scale = 1 / gram[j][j];
        double square = 0;
        for (std::size_t k = 0; k < n_features; ++k) {
            T value = atom[k] + scale * step[k];
            if (positive) value = std::max(value, T(0));
            step[k] = value;
            square += double(value) * double(value);
        }
        const T shrink = T(1 / std::max(1.0, std::sqrt(square)));
        for (std::size_t k = 0; k < n_features; ++k) {
            const T value = shrink * step[k];
            step[k] = value - atom[k];
            atom[k] = value;
        }
    }
}

}  // namespace skddl
