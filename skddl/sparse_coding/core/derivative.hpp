// The derivative of the codes of a batch, by the implicit function theorem on their supports.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "cholesky.hpp"
#include "memory.hpp"
#include "products.hpp"
#include "team.hpp"

namespace skddl {

// What the derivative of a code needs.
struct Kept {
    std::vector<std::int32_t> support;  // signed atoms, from 1
    std::vector<double> code;           // on the support
    std::vector<double> factor;         // of its equations; empty where there was no room
    bool is_known = false;              // else the derivative has to be computed otherwise

    std::size_t atom(std::size_t i) const { return std::size_t(std::abs(support[i]) - 1); }
};

// The same of all codes of a batch, and what they leave of the samples.
template <class T>
struct KeptBatch {
    KeptBatch(std::size_t n_samples, std::size_t n_features, double lambda2)
        : samples(n_samples),
          lambda2(lambda2),
          n_features(n_features),
          memory(n_samples * n_features) {}

    Rows<T> remainders() const { return {memory.get(), samples.size(), n_features}; }

    // Whether factors of so many rows may be kept: those of all samples take 256 MiB at most.
    bool has_room(std::size_t size) const {
        return double(Cholesky::length(size)) * double(samples.size()) <= 1 << 25;
    }

    std::vector<Kept> samples;
    double lambda2;
    std::size_t n_features;
    Buffer<T> memory;
};

template <class T>
class Differentiation {
  public:
    // From dl/dcodes to dl/dX and, if there is room for it, dl/ddictionary.
    Differentiation(const KeptBatch<T>& kept, Rows<const T> atoms, Rows<const T> grad_codes,
                    Rows<T> grad_X, Rows<T> grad_dictionary)
        : kept_(kept.samples),
          lambda2_(kept.lambda2),
          remainders_(kept.remainders()),
          atoms_(atoms),
          grad_codes_(grad_codes),
          grad_X_(grad_X),
          grad_dictionary_(grad_dictionary),
          beta_(kept_.size()) {}

    void run(const Team& team, unsigned n_threads) {
        Items samples(kept_.size());
        team.run(n_threads, [&] { differentiate(samples); });
        if (failed_) throw std::bad_alloc();
        if (!grad_dictionary_) return;
        Items parts((atoms_.n_columns + columns - 1) / columns);
        team.run(n_threads, [&] { accumulate(parts); });
    }

  private:
    // Columns of dl/ddictionary that a thread takes at a time.
    static constexpr std::size_t columns = 4 * width_of<T>;

    // Per sample, beta of Algorithm 1 of paper 1 on the support, and Eq. (12), dl/dx = D beta.
    void differentiate(Items& samples) try {
        Cholesky factor;
        Buffer<double> scratch;
        for (std::size_t i; samples.take(i);) {
            const Kept& kept = kept_[i];
            std::fill_n(grad_X_[i], grad_X_.n_columns, T(0));
            if (!kept.is_known) continue;
            const std::size_t size = kept.support.size();
            std::vector<double>& beta = beta_[i];
            beta.assign(Cholesky::padded(size), 0);
            for (std::size_t q = 0; q < size; ++q) beta[q] = grad_codes_[i][kept.atom(q)];
            if (kept.factor.empty()) factorise(kept, factor, scratch);
            Cholesky::solve(kept.factor.empty() ? factor.data() : kept.factor.data(), size,
                            beta.data());
            subtract_rows(
                grad_X_[i], atoms_.n_columns, size, [&](std::size_t q) { return -beta[q]; },
                [&](std::size_t q) { return atoms_[kept.atom(q)]; });
        }
    } catch (const std::bad_alloc&) {  // nothing may leave a loop of OpenMP's
        failed_ = true;
    }

    // L L' = D_S D_S' + lambda2 I, once more.
    void factorise(const Kept& kept, Cholesky& factor, Buffer<double>& scratch) const {
        const auto entries = [&](std::size_t j, double* row) {
            for (std::size_t i = 0; i <= j; ++i)
                row[i * Cholesky::block] =
                    dot(atoms_[kept.atom(j)], atoms_[kept.atom(i)], atoms_.n_columns);
            row[j * Cholesky::block] += lambda2_;
        };
        factor.shrink(0);
        factor.extend(kept.support.size(), 0, entries, scratch);
    }

    // Algorithm 1, last line: -D beta a' + (x - D a) beta', by columns, summed over samples.
    void accumulate(Items& parts) const {
        for (std::size_t part; parts.take(part);) {
            const std::size_t left = part * columns, n = std::min(columns, atoms_.n_columns - left);
            for (std::size_t j = 0; j < grad_dictionary_.n_rows; ++j)
                std::fill_n(grad_dictionary_[j] + left, n, T(0));
            for (std::size_t i = 0; i < kept_.size(); ++i) {
                const Kept& kept = kept_[i];
                if (!kept.is_known) continue;
                const T *remainder = remainders_[i] + left, *grad_x = grad_X_[i] + left;
                for (std::size_t q = 0; q < kept.support.size(); ++q) {
                    T* grad_atom = grad_dictionary_[kept.atom(q)] + left;
                    const T b = T(beta_[i][q]), a = T(kept.code[q]);
#pragma omp simd
                    for (std::size_t f = 0; f < n; ++f)
                        grad_atom[f] += b * remainder[f] - a * grad_x[f];
                }
            }
        }
    }

    const std::vector<Kept>& kept_;
    double lambda2_;
    Rows<T> remainders_;
    Rows<const T> atoms_, grad_codes_;
    Rows<T> grad_X_, grad_dictionary_;
    std::vector<std::vector<double>> beta_;
    std::atomic<bool> failed_{false};
};

}  // namespace skddl
