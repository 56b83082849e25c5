// What all samples of a batch have in common, and room to solve one of them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>

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
    // Multiply-adds that a sample may spend on what the Gram matrix would have saved.
    double budget;

    double product(std::size_t atom, std::size_t other) const {
        return gram ? double(gram[atom][other]) : dot(atoms[atom], atoms[other], atoms.n_columns);
    }

    // How strongly an atom of this correlation wants to enter.
    template <class Value>
    Value magnitude(Value correlation) const {
        return positive ? correlation : std::abs(correlation);
    }

    // That of the strongest atom of a stretch; at least 0.
    T strongest(const T* correlation, std::size_t stretch) const {
        const std::size_t begin = stretch * stretch_size;
        const std::size_t end = std::min(begin + stretch_size, atoms.n_rows);
        T found = 0;
        if (positive) {
#pragma omp simd reduction(max : found)
            for (std::size_t j = begin; j < end; ++j) found = std::max(found, correlation[j]);
        } else {
#pragma omp simd reduction(max : found)
            for (std::size_t j = begin; j < end; ++j)
                found = std::max(found, std::abs(correlation[j]));
        }
        return found;
    }

    std::size_t n_stretches() const { return (atoms.n_rows + stretch_size - 1) / stretch_size; }

    // A product below the smallest number of the type is lost.
    double underflow() const { return double(atoms.n_columns) * std::numeric_limits<T>::min(); }
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
