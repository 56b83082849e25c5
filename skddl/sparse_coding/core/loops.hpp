// Loops over samples: their codes, and the derivative of these.
#pragma once

#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "active_set.hpp"
#include "memory.hpp"
#include "products.hpp"

namespace skddl {

// What the derivative of codes needs, per sample.
template <class T>
struct Kept {
    std::vector<std::int32_t> support;  // signed atoms, from 1
    std::vector<double> code, factor;
    bool is_known = false;  // else it has to be computed otherwise
};

// From which supports to start, and where to write those that are found.
struct Supports {
    Rows<std::int32_t> atoms;  // signed, from 1
    std::int32_t* sizes = nullptr;
    const std::int64_t* rows = nullptr;  // which row belongs to each sample; or nothing: in order

    std::size_t row(std::size_t sample) const {
        return rows != nullptr ? std::size_t(rows[sample]) : sample;
    }
};

// Multiply-adds to form the Gram matrix.
inline double work_of_gram(std::size_t n_atoms, std::size_t n_features) {
    return 0.5 * double(n_atoms) * double(n_atoms) * double(n_features);
}

// Whether codes of so many samples take less time with the Gram matrix, forming it included. Without,
// each round takes the products of what is left of the samples with all atoms, and those of the
// atoms in use. In multiply-adds, weighed by how fast they turned out to be.
// `size`: of the mean support to start from; negative: from zero, or not known.
inline bool gram_pays(std::size_t n_samples, std::size_t n_atoms, std::size_t n_features,
                      double size) {
    const double round = double(n_atoms) * double(n_features);
    const double saved = size < 0 ? 6 * round : 0.3 * round + 1.5 * size * size * double(n_features);
    return double(n_samples) * saved > work_of_gram(n_atoms, n_features);
}

// Entries of a code that are not zero, in the mean over the first codes; -1 without codes.
template <class T>
double mean_size(const Rows<const T>& codes) {
    const std::size_t n_rows = std::min<std::size_t>(codes.n_rows, 16);
    std::size_t n = 0;
    for (std::size_t i = 0; i < n_rows * codes.n_columns; ++i) n += codes.data[i] != 0;
    return codes ? double(n) / double(n_rows) : -1;
}

// Norm of the longest atom.
template <class T>
double longest(const Rows<const T>& atoms, const Rows<const T>& gram) {
    double square = 0;
    for (std::size_t j = 0; j < atoms.n_rows; ++j)
        square = std::max<double>(square,
                                  gram ? gram[j][j] : dot(atoms[j], atoms[j], atoms.n_columns));
    return std::sqrt(square);
}

template <class T>
struct EncodeTask {
    const Problem<T>& problem;
    const Panels<T>& panels;
    Rows<const T> X;
    Rows<const T> init;  // codes to start from, or nothing
    Supports supports;   // likewise
    const std::vector<std::size_t>& samples;  // those to code, of all
    Rows<T> codes;
    double* residuals;   // -1: not coded, since that would take more products than are paid for
    std::vector<Kept<T>>* kept;  // or nothing
    Rows<T> remainders;
    // A few times for each thread, so that none waits long for the others at the end.
    unsigned n_threads;
    std::size_t samples_at_a_time{
        std::clamp(samples.size() / (4 * n_threads), tile_rows, 8 * tile_rows) / tile_rows *
        tile_rows};
    Items items{(samples.size() + samples_at_a_time - 1) / samples_at_a_time};
    std::atomic<bool> failed{false};  // for want of memory
};

template <class T>
class Encoder {
  public:
    explicit Encoder(EncodeTask<T>& task) : task_(task), work_(task.problem) {}

    void run() {
        const std::size_t most = task_.samples_at_a_time;
        for (std::size_t item; task_.items.take(item);) {
            const std::size_t first = item * most, n = std::min(most, task_.samples.size() - first);
            if (!task_.problem.gram) {
                solve(first, n, nullptr);
                continue;
            }
            rows_.resize(n);
            for (std::size_t i = 0; i < n; ++i) rows_[i] = task_.X[task_.samples[first + i]];
            multiply(products_);
            for (std::size_t i = 0; i < n; ++i)
                solve(first + i, 1, products_.get() + i * task_.panels.n_padded());
        }
    }

  private:
    // Codes of some samples: of one whose products with all atoms are known, and so is the Gram
    // matrix; or of several, for which a round is one way through all atoms.
    void solve(std::size_t first, std::size_t n, const T* products) {
        while (sets_.size() < n) sets_.emplace_back(task_.problem, work_);
        unfinished_.resize(n);
        for (std::size_t i = 0; i < n; ++i) {
            unfinished_[i] = i;
            const std::size_t sample = task_.samples[first + i], n_start = read_start(sample);
            sets_[i].begin(task_.X[sample], products, start_.data(), n_start);
        }
        for (bool has_begun = false; !unfinished_.empty(); has_begun = true) {
            if (has_begun) products != nullptr ? correlate_by_gram() : correlate_remainders();
            std::size_t n_left = 0;
            for (std::size_t k = 0; k < unfinished_.size(); ++k) {
                const std::size_t i = unfinished_[k];
                T* correlation = correlations_.get() + k * task_.panels.n_padded();
                const State state = sets_[i].round(has_begun ? correlation : nullptr);
                if (state == State::unfinished)
                    unfinished_[n_left++] = i;
                else
                    finish(task_.samples[first + i], sets_[i], state);
            }
            unfinished_.resize(n_left);
        }
    }

    void correlate_by_gram() {
        correlations_.reserve(task_.panels.n_padded());
        sets_[0].correlate(correlations_.get());
    }

    void correlate_remainders() {
        const std::size_t n_features = task_.X.n_columns;
        remainders_.reserve(unfinished_.size() * n_features);
        rows_.resize(unfinished_.size());
        for (std::size_t k = 0; k < unfinished_.size(); ++k) {
            T* row = remainders_.get() + k * n_features;
            std::copy_n(sets_[unfinished_[k]].remainder(), n_features, row);
            rows_[k] = row;
        }
        multiply(correlations_);
    }

    // Products of the rows with all atoms.
    void multiply(Buffer<T>& products) {
        products.reserve(rows_.size() * task_.panels.n_padded());
        correlate(rows_.data(), rows_.size(), task_.panels, products.get());
    }

    // Read where a sample starts; how many atoms that are.
    std::size_t read_start(std::size_t sample) {
        std::size_t n = 0;
        if (task_.init) {
            start_.resize(task_.init.n_columns);
            const T* code = task_.init[sample];
            for (std::size_t begin = 0; begin < task_.init.n_columns; begin += width_of<T>) {
                const std::size_t end = std::min(begin + width_of<T>, task_.init.n_columns);
                bool any = false;
#pragma omp simd reduction(| : any)
                for (std::size_t j = begin; j < end; ++j) any |= code[j] != 0;
                for (std::size_t j = begin; any && j < end; ++j)
                    if (code[j] != 0)
                        start_[n++] = code[j] > 0 ? std::int32_t(j + 1) : -std::int32_t(j + 1);
            }
        } else if (task_.supports.atoms) {
            const std::size_t row = task_.supports.row(sample);
            const std::int32_t size = task_.supports.sizes[row];
            n = size > 0 ? std::min(std::size_t(size), task_.supports.atoms.n_columns) : 0;
            start_.assign(task_.supports.atoms[row], task_.supports.atoms[row] + n);
        }
        return n;
    }

    void finish(std::size_t sample, const ActiveSet<T>& set, State state) {
        if (state == State::too_dear) {
            task_.residuals[sample] = -1;
            return;
        }
        task_.residuals[sample] =
            state == State::lost ? std::numeric_limits<double>::infinity() : set.residual();
        const std::size_t size = state == State::lost ? 0 : set.size();
        std::fill_n(task_.codes[sample], task_.codes.n_columns, T(0));
        for (std::size_t i = 0; i < size; ++i) task_.codes[sample][set[i].atom] = T(set[i].code);
        if (task_.kept == nullptr) return;
        Kept<T>& kept = (*task_.kept)[sample];
        kept.support.resize(size), kept.code.resize(size);
        for (std::size_t i = 0; i < size; ++i) {
            kept.support[i] = std::int32_t(set[i].atom + 1) * (set[i].sign > 0 ? 1 : -1);
            kept.code[i] = set[i].code;
        }
        if (state != State::optimal || set.is_nearly_singular()) return;
        kept.is_known = true;
        kept.factor.assign(set.factor().data(), set.factor().data() + Cholesky::length(size));
        // The latest, or one that differs by rounding.
        std::copy_n(work_.remainder.get(), task_.X.n_columns, task_.remainders[sample]);
    }

    EncodeTask<T>& task_;
    Workspace<T> work_;
    std::vector<ActiveSet<T>> sets_;
    std::vector<std::int32_t> start_;
    std::vector<const T*> rows_;
    std::vector<std::size_t> unfinished_;
    Buffer<T> products_, correlations_, remainders_;
};

template <class T>
void encode(EncodeTask<T>& task) {
    try {
        Encoder<T>(task).run();
    } catch (...) {  // std::bad_alloc: nothing may leave a loop of OpenMP's
        task.failed = true;
    }
}

template <class T>
struct DifferentiateTask {
    Rows<const T> atoms;
    const std::vector<Kept<T>>& kept;
    Rows<const T> grad_codes;
    std::vector<std::vector<double>>& beta;
    Rows<T> grad_X;
    Items items{kept.size()};
    std::atomic<bool> failed{false};
};

// Per sample, beta of Algorithm 1 of paper 1 on the support, and Eq. (12), dl/dx = D beta.
template <class T>
void differentiate(DifferentiateTask<T>& task) try {
    for (std::size_t i; task.items.take(i);) {
        const Kept<T>& kept = task.kept[i];
        std::fill_n(task.grad_X[i], task.grad_X.n_columns, T(0));
        if (!kept.is_known) continue;
        const std::size_t size = kept.support.size();
        std::vector<double>& beta = task.beta[i];
        beta.assign(Cholesky::padded(size), 0);
        const auto atom = [&](std::size_t q) { return std::size_t(std::abs(kept.support[q]) - 1); };
        for (std::size_t q = 0; q < size; ++q) beta[q] = task.grad_codes[i][atom(q)];
        Cholesky::solve(kept.factor.data(), size, beta.data());
        subtract_rows(task.grad_X[i], task.atoms.n_columns, size,
                      [&](std::size_t q) { return -beta[q]; },
                      [&](std::size_t q) { return task.atoms[atom(q)]; });
    }
} catch (...) {
    task.failed = true;
}

template <class T>
struct AccumulateTask {
    static constexpr std::size_t columns_of_item = 4 * width_of<T>;

    const std::vector<Kept<T>>& kept;
    const std::vector<std::vector<double>>& beta;
    Rows<const T> remainders;
    Rows<const T> grad_X;
    Rows<T> grad_dictionary;
    Items items{(grad_dictionary.n_columns + columns_of_item - 1) / columns_of_item};
};

// Algorithm 1, last line: -D beta a' + (x - D a) beta', by columns, summed over samples.
template <class T>
void accumulate(AccumulateTask<T>& task) {
    for (std::size_t item; task.items.take(item);) {
        const std::size_t left = item * task.columns_of_item;
        const std::size_t n = std::min(task.columns_of_item, task.grad_dictionary.n_columns - left);
        for (std::size_t j = 0; j < task.grad_dictionary.n_rows; ++j)
            std::fill_n(task.grad_dictionary[j] + left, n, T(0));
        for (std::size_t i = 0; i < task.kept.size(); ++i) {
            const Kept<T>& kept = task.kept[i];
            if (!kept.is_known) continue;
            const T *remainder = task.remainders[i] + left, *grad_x = task.grad_X[i] + left;
            for (std::size_t q = 0; q < kept.support.size(); ++q) {
                T* grad_atom = task.grad_dictionary[std::size_t(std::abs(kept.support[q]) - 1)] + left;
                const T b = T(task.beta[i][q]), a = T(kept.code[q]);
#pragma omp simd
                for (std::size_t f = 0; f < n; ++f)
                    grad_atom[f] += b * remainder[f] - a * grad_x[f];
            }
        }
    }
}

}  // namespace skddl
