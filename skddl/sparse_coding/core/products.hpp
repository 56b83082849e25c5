// Products with all atoms: correlations of samples, and the Gram matrix.
#pragma once

#include <algorithm>
#include <cstddef>

#include "memory.hpp"
#include "team.hpp"

namespace skddl {

// Atoms in panels: a panel holds as many atoms as a line of the cache holds numbers, by columns,
// and zeros after the last atom.
template <class T>
class Panels {
  public:
    static constexpr std::size_t width = width_of<T>;

    Panels(const Rows<const T>& atoms, const Team& team, unsigned n_threads)
        : n_panels((atoms.n_rows + width - 1) / width),
          n_features(atoms.n_columns),
          memory_(n_panels * n_features * width) {
        Items panels(n_panels);
        team.run(n_threads, [&] {
            for (std::size_t panel; panels.take(panel);) pack(atoms, panel);
        });
    }

    T* operator[](std::size_t panel) const { return memory_.get() + panel * n_features * width; }
    std::size_t n_padded() const { return n_panels * width; }

    const std::size_t n_panels, n_features;

  private:
    void pack(const Rows<const T>& atoms, std::size_t panel) const {
        const std::size_t first = panel * width, count = std::min(width, atoms.n_rows - first);
        T* to = (*this)[panel];
        if (count < width) std::fill_n(to, n_features * width, T(0));
        // Some features at a time: their lines stay in the cache until they are full.
        for (std::size_t f = 0; f < n_features; f += width)
            transpose(atoms[first] + f, n_features, count, std::min(width, n_features - f),
                      to + f * width, width);
    }

    Buffer<T> memory_;
};

// Rows that share their way through a panel: with a line of atoms each, they fill the registers of
// AVX2, and hide the latency of products with AVX-512.
constexpr std::size_t tile_rows = 6;
// Features of a panel and of the rows that stay in the nearest cache meanwhile. Sums over these are
// added up: one sum over all of 200,000 features would be rounded too often.
constexpr std::size_t tile_features = 128;

template <class T, std::size_t n_rows>
inline void multiply_tile(const T* const* rows, const T* panel, std::size_t begin, std::size_t end,
                          T* to, std::size_t stride) {
    Lanes<T> sums[n_rows];
#pragma GCC unroll 8
    for (std::size_t r = 0; r < n_rows; ++r) sums[r] = Lanes<T>{};
    for (std::size_t f = begin; f < end; ++f) {
        const Lanes<T> line = load(panel + f * width_of<T>);
#pragma GCC unroll 8
        for (std::size_t r = 0; r < n_rows; ++r) sums[r] += rows[r][f] * line;
    }
#pragma GCC unroll 8
    for (std::size_t r = 0; r < n_rows; ++r) {
        if (begin) sums[r] += load(to + r * stride);
        store(sums[r], to + r * stride);
    }
}

// Products of some rows with the atoms of a panel, for each row to a line at `to`, over some
// features. Each is summed in one order, whatever the other rows are.
template <class T>
inline void multiply_panel(const T* const* rows, std::size_t n_rows, const T* panel,
                           std::size_t begin, std::size_t end, T* to, std::size_t stride) {
    for (; n_rows > tile_rows; n_rows -= tile_rows, rows += tile_rows, to += tile_rows * stride)
        multiply_tile<T, tile_rows>(rows, panel, begin, end, to, stride);
    switch (n_rows) {
        case 6:
            return multiply_tile<T, 6>(rows, panel, begin, end, to, stride);
        case 5:
            return multiply_tile<T, 5>(rows, panel, begin, end, to, stride);
        case 4:
            return multiply_tile<T, 4>(rows, panel, begin, end, to, stride);
        case 3:
            return multiply_tile<T, 3>(rows, panel, begin, end, to, stride);
        case 2:
            return multiply_tile<T, 2>(rows, panel, begin, end, to, stride);
        case 1:
            return multiply_tile<T, 1>(rows, panel, begin, end, to, stride);
        default:
            return;
    }
}

// Products of rows with all atoms, x D', each to `n_padded` numbers.
template <class T>
inline void correlate(const T* const* rows, std::size_t n_rows, const Panels<T>& panels,
                      T* products) {
    for (std::size_t begin = 0; begin < panels.n_features; begin += tile_features) {
        const std::size_t end = std::min(begin + tile_features, panels.n_features);
        for (std::size_t panel = 0; panel < panels.n_panels; ++panel)
            multiply_panel(rows, n_rows, panels[panel], begin, end,
                           products + panel * Panels<T>::width, panels.n_padded());
    }
}

// D D', of which only one half is computed, and mirrored.
template <class T>
void form_gram(const Rows<const T>& atoms, const Panels<T>& panels, const Rows<T>& gram,
               const Team& team, unsigned n_threads) {
    constexpr std::size_t width = Panels<T>::width, most = 8 * tile_rows;
    Items items((atoms.n_rows + most - 1) / most);
    team.run(n_threads, [&] {
        alignas(line_bytes) T tile[most * width];
        const T* rows[most];
        for (std::size_t item; items.take(item);) {
            const std::size_t top = item * most, n_rows = std::min(most, atoms.n_rows - top);
            for (std::size_t r = 0; r < n_rows; ++r) rows[r] = atoms[top + r];
            for (std::size_t panel = top / width; panel < panels.n_panels; ++panel) {
                for (std::size_t begin = 0; begin < panels.n_features; begin += tile_features)
                    multiply_panel(rows, n_rows, panels[panel], begin,
                                   std::min(begin + tile_features, panels.n_features), tile, width);
                const std::size_t left = panel * width, n = std::min(width, atoms.n_rows - left);
                for (std::size_t r = 0; r < n_rows; ++r)
                    std::copy_n(tile + r * width, n, gram[top + r] + left);
                transpose(tile, width, n_rows, n, gram[left] + top, atoms.n_rows);
            }
        }
    });
}

}  // namespace skddl
