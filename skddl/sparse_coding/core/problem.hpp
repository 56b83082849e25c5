// What all samples of a batch have in common, and room to solve one of them.
#pragma once

#include <cstddef>

#include "memory.hpp"

namespace skddl {

// Atoms in a stretch, of which the largest correlation is noted.
constexpr std::size_t stretch_size = 64;

template <class T>
struct Problem {
    Rows<const T> atoms;
    Rows<const T> gram;  // D D', or nothing
    double lambda1, lambda2;
    bool positive;
    std::size_t max_rounds;
    double atom_norm;  // of the longest atom
    // Multiply-adds that a sample may take in products that the Gram matrix would have saved.
    double budget;
};

// Room to compute in, for one sample at a time.
template <class T>
struct Workspace {
    explicit Workspace(const Problem<T>& problem)
        : maxima(problem.atoms.n_rows / stretch_size + 1), remainder(problem.atoms.n_columns) {}

    Buffer<T> maxima;
    Buffer<double> remainder;  // x - a D
    Buffer<double> next;       // a minimiser, or a step
    Buffer<double> columns;    // of a factor that is extended
};

}  // namespace skddl
