// The codes of a batch.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <numeric>
#include <vector>

#include "active_set.hpp"
#include "derivative.hpp"
#include "interrupt.hpp"
#include "memory.hpp"
#include "products.hpp"
#include "team.hpp"

namespace skddl {

// From which supports to start, and where to write those that are found.
struct Supports {
    Rows<std::int32_t> atoms;  // signed, from 1
    std::int32_t* sizes = nullptr;
    const std::int64_t* rows = nullptr;  // which row belongs to each sample; or nothing: in order

    std::size_t row(std::size_t sample) const {
        return rows != nullptr ? std::size_t(rows[sample]) : sample;
    }
};

template <class T>
struct Batch {
    Rows<const T> X, atoms;
    Rows<const T> gram;  // D D', or nothing
    Rows<const T> init;  // codes to start from, or nothing
    Supports supports;   // likewise
    double lambda1, lambda2;
    bool positive;
    std::size_t max_rounds;
    Rows<T> codes;
    double* residuals;
    KeptBatch<T>* kept;  // or nothing
    bool differentiable;
};

// Multiply-adds to form the Gram matrix.
inline double work_of_gram(std::size_t n_atoms, std::size_t n_features) {
    return 0.5 * double(n_atoms) * double(n_atoms) * double(n_features);
}

// Entries of the largest Gram matrix that is formed: 4 GiB of float64 numbers.
constexpr double most_of_gram = 1 << 29;

// Whether codes of so many samples take less time with the Gram matrix, forming it included.
// Without, each round takes the products of what is left of the samples with all atoms, and those
// of the atoms in use. In multiply-adds, weighed by how fast they turned out to be. `size`: of the
// mean support to start from; negative: from zero, or not known.
inline bool gram_pays(std::size_t n_samples, std::size_t n_atoms, std::size_t n_features,
                      double size) {
    const double round = double(n_atoms) * double(n_features);
    const double saved =
        size < 0 ? 6 * round : 0.3 * round + 1.5 * size * size * double(n_features);
    return double(n_samples) * saved > work_of_gram(n_atoms, n_features) &&
           double(n_atoms) * double(n_atoms) <= most_of_gram;
}

constexpr double too_dear = -1;  // in place of the residual of a sample that was left

// Codes of some samples of a batch, by one thread.
template <class T>
class Encoder {
  public:
    Encoder(const Batch<T>& batch, const Problem<T>& problem, const Panels<T>& panels,
            Interrupt& interrupt)
        : batch_(batch),
          problem_(problem),
          panels_(panels),
          interrupt_(interrupt),
          work_(problem) {}

    // Those of the numbers `samples`, of which there are n.
    void encode(const std::size_t* samples, std::size_t n) {
        if (!problem_.gram) {
            solve(samples, n, nullptr);
            return;
        }
        rows_.resize(n);
        for (std::size_t i = 0; i < n; ++i) rows_[i] = batch_.X[samples[i]];
        multiply(products_);
        for (std::size_t i = 0; i < n; ++i)
            solve(samples + i, 1, products_.get() + i * panels_.n_padded());
    }

  private:
    // Either one sample, whose products with all atoms are known, as is the Gram matrix; or
    // several, for which a round is one way through all atoms.
    void solve(const std::size_t* samples, std::size_t n, const T* products) {
        while (sets_.size() < n) sets_.emplace_back(problem_, work_);
        unfinished_.resize(n);
        for (std::size_t i = 0; i < n; ++i) {
            unfinished_[i] = i;
            const std::size_t n_start = read_start(samples[i]);
            sets_[i].begin(batch_.X[samples[i]], products, start_.data(), n_start);
        }
        for (bool has_begun = false; !unfinished_.empty(); has_begun = true) {
            const bool is_long = products == nullptr || sets_[0].support().size() > 64;
            if (is_long && interrupt_.asked()) return;
            if (has_begun) products != nullptr ? correlate_by_gram() : correlate_remainders();
            std::size_t n_left = 0;
            for (std::size_t k = 0; k < unfinished_.size(); ++k) {
                const std::size_t i = unfinished_[k];
                T* correlation = correlations_.get() + k * panels_.n_padded();
                const State state = sets_[i].round(has_begun ? correlation : nullptr);
                if (state == State::unfinished)
                    unfinished_[n_left++] = i;
                else
                    finish(samples[i], sets_[i], state);
            }
            unfinished_.resize(n_left);
        }
    }

    void correlate_by_gram() {
        correlations_.reserve(panels_.n_padded());
        sets_[0].correlate(correlations_.get());
    }

    void correlate_remainders() {
        const std::size_t n_features = batch_.X.n_columns;
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
        products.reserve(rows_.size() * panels_.n_padded());
        correlate(rows_.data(), rows_.size(), panels_, products.get());
    }

    // Read where a sample starts; how many atoms that are.
    std::size_t read_start(std::size_t sample) {
        std::size_t n = 0;
        if (batch_.init) {
            start_.resize(batch_.init.n_columns);
            const T* code = batch_.init[sample];
            for (std::size_t begin = 0; begin < batch_.init.n_columns; begin += width_of<T>) {
                const std::size_t end = std::min(begin + width_of<T>, batch_.init.n_columns);
                bool any = false;
#pragma omp simd reduction(| : any)
                for (std::size_t j = begin; j < end; ++j) any |= code[j] != 0;
                for (std::size_t j = begin; any && j < end; ++j)
                    if (code[j] != 0)
                        start_[n++] = code[j] > 0 ? std::int32_t(j + 1) : -std::int32_t(j + 1);
            }
        } else if (batch_.supports.atoms) {
            const std::size_t row = batch_.supports.row(sample);
            const std::int32_t size = batch_.supports.sizes[row];
            n = size > 0 ? std::min(std::size_t(size), batch_.supports.atoms.n_columns) : 0;
            start_.assign(batch_.supports.atoms[row], batch_.supports.atoms[row] + n);
        }
        return n;
    }

    void finish(std::size_t sample, const ActiveSet<T>& set, State state) {
        if (state == State::too_dear) {
            batch_.residuals[sample] = too_dear;
            return;
        }
        batch_.residuals[sample] =
            state == State::lost ? std::numeric_limits<double>::infinity() : set.residual();
        const Support& support = set.support();
        const std::size_t size = state == State::lost ? 0 : support.size();
        T* code = batch_.codes[sample];
        std::fill_n(code, batch_.codes.n_columns, T(0));
        for (std::size_t i = 0; i < size; ++i) code[support[i].atom] = T(support[i].value);
        if (batch_.kept == nullptr) return;
        Kept& kept = batch_.kept->samples[sample];
        kept.support.resize(size), kept.code.resize(size);
        for (std::size_t i = 0; i < size; ++i) {
            kept.support[i] = std::int32_t(support[i].atom + 1) * (support[i].sign > 0 ? 1 : -1);
            kept.code[i] = support[i].value;
        }
        if (!batch_.differentiable || state != State::optimal || set.is_nearly_singular()) return;
        kept.is_known = true;
        const double* factor = set.factor().data();
        if (batch_.kept->has_room(size))
            kept.factor.assign(factor, factor + Cholesky::length(size));
        // The latest, or one that differs by rounding.
        std::copy_n(work_.remainder.get(), batch_.X.n_columns, batch_.kept->remainders()[sample]);
    }

    const Batch<T>& batch_;
    const Problem<T>& problem_;
    const Panels<T>& panels_;
    Interrupt& interrupt_;
    Workspace<T> work_;
    std::vector<ActiveSet<T>> sets_;
    std::vector<std::int32_t> start_;
    std::vector<const T*> rows_;
    std::vector<std::size_t> unfinished_;
    Buffer<T> products_, correlations_, remainders_;
};

// Codes of some samples of a batch, by all threads.
template <class T>
void encode_samples(const Batch<T>& batch, const Problem<T>& problem, const Panels<T>& panels,
                    const std::vector<std::size_t>& samples, const Team& team, unsigned n_threads,
                    Interrupt& interrupt) {
    // A few times for each thread, so that none waits long for the others at the end.
    const std::size_t at_a_time =
        std::clamp(samples.size() / (16 * std::max(n_threads, 1u)), tile_rows, 8 * tile_rows) /
        tile_rows * tile_rows;
    Items items((samples.size() + at_a_time - 1) / at_a_time);
    std::atomic<bool> failed{false};
    team.run(n_threads, [&] {
        try {
            Encoder<T> encoder(batch, problem, panels, interrupt);
            for (std::size_t item; !interrupt.asked() && items.take(item);) {
                const std::size_t first = item * at_a_time;
                encoder.encode(samples.data() + first, std::min(at_a_time, samples.size() - first));
            }
        } catch (const std::bad_alloc&) {  // nothing may leave a loop of OpenMP's
            failed = true;
        }
    });
    if (failed) throw std::bad_alloc();
    if (interrupt.asked()) throw Interrupted();
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
double longest(const Rows<const T>& atoms) {
    double square = 0;
    for (std::size_t j = 0; j < atoms.n_rows; ++j)
        square = std::max<double>(square, dot(atoms[j], atoms[j], atoms.n_columns));
    return std::sqrt(square);
}

// All codes of a batch. Raises `Interrupted`.
template <class T>
void encode(const Batch<T>& batch, const Team& team, unsigned n_threads, Interrupt& interrupt) {
    const std::size_t n_samples = batch.X.n_rows, n_features = batch.X.n_columns;
    const std::size_t n_atoms = batch.atoms.n_rows;
    const Panels<T> panels(batch.atoms, team, n_threads);
    Problem<T> problem{batch.atoms,          batch.gram,
                       batch.lambda1,        batch.lambda2,
                       batch.positive,       batch.max_rounds,
                       longest(batch.atoms), std::numeric_limits<double>::infinity()};
    Buffer<T> gram;
    const auto form = [&] {
        gram.reserve(n_atoms * n_atoms);
        form_gram(batch.atoms, panels, Rows<T>{gram.get(), n_atoms, n_atoms}, team, n_threads);
        problem.gram = {gram.get(), n_atoms, n_atoms};
    };
    // What is decided here must not depend on supports to start from, which a fit that goes on from
    // a checkpoint has not: with the Gram matrix codes are rounded in another way.
    if (!problem.gram && gram_pays(n_samples, n_atoms, n_features, mean_size(batch.init))) form();
    // A start has its factor to pay for at once, and saves rounds later.
    const double shares = batch.init ? 4 : 1;
    if (!batch.supports.atoms && double(n_atoms) * double(n_atoms) <= most_of_gram)
        problem.budget = shares * work_of_gram(n_atoms, n_features) / double(n_samples);
    std::vector<std::size_t> samples(n_samples);
    std::iota(samples.begin(), samples.end(), std::size_t(0));
    encode_samples(batch, problem, panels, samples, team, n_threads, interrupt);
    if (problem.gram) return;
    samples.erase(std::remove_if(samples.begin(), samples.end(),
                                 [&](std::size_t i) { return batch.residuals[i] != too_dear; }),
                  samples.end());
    if (samples.empty()) return;
    form();
    encode_samples(batch, problem, panels, samples, team, n_threads, interrupt);
}

// Replace supports to start from by those of the codes.
template <class T>
void write_supports(const Batch<T>& batch) {
    const Supports& supports = batch.supports;
    for (std::size_t i = 0; i < batch.X.n_rows; ++i) {
        const std::vector<std::int32_t>& found = batch.kept->samples[i].support;
        const std::size_t row = supports.row(i);
        const std::size_t size = std::min(found.size(), supports.atoms.n_columns);
        std::copy_n(found.data(), size, supports.atoms[row]);
        supports.sizes[row] = std::int32_t(size);
    }
}

}  // namespace skddl
