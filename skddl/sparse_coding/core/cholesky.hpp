// The Cholesky factor of a matrix that grows and shrinks at its end.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "memory.hpp"

namespace skddl {

// H = L L', in blocks of as many rows as a line of the cache holds numbers. A block has a line for
// each column before it, and then the inverse of its own triangle of L, by rows.
class Cholesky {
  public:
    static constexpr std::size_t block = width_of<double>;

    std::size_t size() const { return size_; }
    const double* data() const { return data_.get(); }
    // Numbers in all blocks that so many rows touch.
    static std::size_t length(std::size_t size) { return start_of((size + block - 1) / block); }
    // Rows in these blocks: vectors have to be as long, and are zero beyond `size`.
    static std::size_t padded(std::size_t size) { return (size + block - 1) / block * block; }

    // Keep the first rows.
    void shrink(std::size_t size) {
        if (size >= size_) return;
        size_ = size;
        whole_ = std::min(whole_, size);
        const std::size_t b = size / block, left = size % block;
        if (left == 0) return;
        double* columns = data_.get() + start_of(b);
        for (std::size_t q = 0; q < b * block; ++q)
            std::fill_n(columns + q * block + left, block - left, 0.0);
        std::fill_n(columns + (b * block + left) * block, (block - left) * block, 0.0);
    }

    // Keep those of the first rows that were appended a block at a time: the last digits of others
    // depend on how many were. Whether these are all.
    bool shrink_to_whole_blocks(std::size_t size) {
        size = std::min(size, whole_);
        if (size == size_) return true;
        shrink(size / block * block);
        return false;
    }

    // Rows up to `size`, or to the first whose pivot is not above `floor` times its diagonal entry.
    // `entries(j, out)` writes row j of H up to its diagonal to every eighth place of `out`.
    template <class Entries>
    void extend(std::size_t size, double floor, Entries entries, Buffer<double>& scratch) {
        data_.reserve(length(size), length(size_));
        while (size_ < size)
            if (!append(std::min(size - size_, block), floor, entries, scratch)) return;
    }

    // out = L^-1 right, from `first` on, given what is before.
    static void solve_lower(const double* data, const double* right, std::size_t first,
                            std::size_t size, double* out) {
        for (std::size_t b = first / block; b * block < size; ++b) {
            const double* columns = data + start_of(b);
            Lanes<double> rest = load(right + b * block), more{};
            for (std::size_t q = 0; q < b * block; q += 2) {  // two sums: one would wait for itself
                rest -= out[q] * load(columns + q * block);
                more -= out[q + 1] * load(columns + (q + 1) * block);
            }
            rest += more;
            const double* inverse = columns + b * block * block;
            for (std::size_t i = 0; i < block; ++i)
                out[b * block + i] = sum<double>(load(inverse + i * block) * rest);
        }
    }

    // values = L'^-1 values
    static void solve_upper(const double* data, std::size_t size, double* values) {
        for (std::size_t b = (size + block - 1) / block; b-- > 0;) {
            const double* columns = data + start_of(b);
            const double* inverse = columns + b * block * block;
            Lanes<double> solved{};
            for (std::size_t i = 0; i < block; ++i)
                solved += values[b * block + i] * load(inverse + i * block);
            store(solved, values + b * block);
            for (std::size_t q = 0; q < b * block; ++q)
                values[q] -= sum<double>(load(columns + q * block) * solved);
        }
    }

    // values = H^-1 values
    static void solve(const double* data, std::size_t size, double* values) {
        solve_lower(data, values, 0, size, values);
        solve_upper(data, size, values);
    }

    // Smallest pivot: square of a diagonal entry of L.
    double smallest_pivot() const {
        double largest = 0;  // inverse
        for (std::size_t i = 0; i < size_; ++i) {
            const std::size_t b = i / block, r = i % block;
            largest = std::max(largest, data_[start_of(b) + (b * block + r) * block + r]);
        }
        return 1 / (largest * largest);
    }

  private:
    static std::size_t start_of(std::size_t b) { return block * block * (b * (b + 1) / 2); }

    // Some rows at once: their entries of a column lie in a line of `scratch`.
    template <class Entries>
    bool append(std::size_t n, double floor, Entries entries, Buffer<double>& scratch) {
        const std::size_t before = size_;
        const bool is_whole = before == whole_ && before % block == 0;
        scratch.reserve((before + block) * block);
        double* columns = scratch.get();
        const auto column = [=](std::size_t q) { return load(columns + q * block); };
        double diagonal[block];
        std::fill_n(columns, (before + block) * block, 0.0);
        for (std::size_t j = 0; j < n; ++j) {
            entries(before + j, columns + j);
            diagonal[j] = columns[(before + j) * block + j];
        }
        // Columns before: L11 L21' = H21', block by block of L11.
        for (std::size_t p = 0; p * block < before; ++p) {
            const double* above = data_.get() + start_of(p);
            Lanes<double> rest[block];
#pragma GCC unroll 8
            for (std::size_t i = 0; i < block; ++i) rest[i] = column(p * block + i);
            for (std::size_t q = 0; q < p * block; ++q) {
                const Lanes<double> done = column(q);
#pragma GCC unroll 8
                for (std::size_t i = 0; i < block; ++i) rest[i] -= above[q * block + i] * done;
            }
            const double* inverse = above + p * block * block;
            const std::size_t end = std::min(block, before - p * block);
#pragma GCC unroll 8
            for (std::size_t i = 0; i < block; ++i) {
                if (i == end) break;
                Lanes<double> solved{};
#pragma GCC unroll 8
                for (std::size_t t = 0; t <= i; ++t) solved += inverse[i * block + t] * rest[t];
                store(solved, columns + (p * block + i) * block);
            }
        }
        // New columns: H22 - L21 L21' = L22 L22'.
        Lanes<double> corner[block];
#pragma GCC unroll 8
        for (std::size_t j = 0; j < block; ++j) corner[j] = column(before + j);
        for (std::size_t q = 0; q < before; ++q) {
            const Lanes<double> c = column(q);
#pragma GCC unroll 8
            for (std::size_t j = 0; j < block; ++j) corner[j] -= columns[q * block + j] * c;
        }
#pragma GCC unroll 8
        for (std::size_t j = 0; j < block; ++j) {
            if (j == n) break;
            const double pivot = corner[j][j];
            if (!(pivot > floor * diagonal[j])) return false;
            const double reciprocal = 1 / std::sqrt(pivot);
            const Lanes<double> c = reciprocal * corner[j];
#pragma GCC unroll 8
            for (std::size_t k = j + 1; k < block; ++k) corner[k] -= c[k] * c;
            store(c, columns + (before + j) * block);
            put_row(columns + j, reciprocal);
            if (is_whole) whole_ = size_;
        }
        return true;
    }

    // The next row, of which every eighth number of `columns` is an entry.
    void put_row(const double* columns, double reciprocal) {
        const std::size_t b = size_ / block, lane = size_ % block;
        double* to = data_.get() + start_of(b);
        double* inverse = to + b * block * block;
        if (lane == 0) std::fill_n(to, (b + 1) * block * block, 0.0);
        for (std::size_t q = 0; q < b * block; ++q) to[q * block + lane] = columns[q * block];
        Lanes<double> row{};
        for (std::size_t k = 0; k < lane; ++k)
            row -= columns[(b * block + k) * block] * load(inverse + k * block);
        store(Lanes<double>(reciprocal * row), inverse + lane * block);
        inverse[lane * block + lane] = reciprocal;
        ++size_;
    }

    std::size_t size_ = 0, whole_ = 0;
    Buffer<double> data_;
};

}  // namespace skddl
