// The code of one sample, by feature-sign search (Lee, Battle, Raina, Ng, NIPS 2006), several atoms
// at a time:
//
//     a* = argmin_a  1/2 ||x - a D||^2 + lambda1 ||a||_1 + lambda2/2 ||a||^2      (paper 1, Eq. 3)
//
// docs/active_set.md has the algorithm as pseudo-code, why it ends, and what it costs.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "cholesky.hpp"
#include "memory.hpp"
#include "problem.hpp"
#include "support.hpp"

namespace skddl {

// Atoms that enter at a time: those with this share of the worst violation, at most so many, or the
// eighth of the support. More of them make fewer rounds, in which more have to leave again.
constexpr std::size_t most_entering = 6;
constexpr double entering_share = 0.5;
// A pivot, relative to the diagonal, below so many eps is rounding alone: the atom depends on those
// before it.
constexpr double pivot_eps = 16;
// Rounding error of a correlation, in eps (||x|| + ||a||_1) for unit atoms. At most 5 were seen.
constexpr double noise_eps = 20;
// What is decided at last is decided in float64: residual on the support and violation off it, in
// units of lambda1.
constexpr double exact = 1e-9;
// Newton steps on one support, and supports, until that holds: rarely more than 2 and 3.
constexpr int most_newton_steps = 6, most_certificates = 20;

enum class State { unfinished, optimal, out_of_rounds, lost, too_dear };

template <class T>
class ActiveSet {
  public:
    ActiveSet(const Problem<T>& problem, Workspace<T>& work) : problem_(problem), work_(work) {}

    // Take a sample, and the support to start from: signed atoms, counted from 1. `products`: x D',
    // or nothing where the Gram matrix is not known.
    void begin(const T* x, const T* products, const std::int32_t* start, std::size_t n_start) {
        x_ = x, products_ = products;
        norm_x_ = std::sqrt(double(dot(x, x, problem_.atoms.n_columns)));
        rounds_ = 0;
        spent_ = 0;
        clear();
        for (std::size_t i = 0; i < n_start; ++i) {
            const std::int64_t number = std::abs(std::int64_t(start[i])) - 1;
            const auto atom = std::size_t(number);
            if (number < 0 || atom >= problem_.atoms.n_rows) continue;
            if (start[i] > 0 || !problem_.positive) support_.push(atom, start[i], right_side(atom));
        }
        is_warm_ = support_.size() > 0;
    }

    // A round. Given the correlations of all atoms with what the code leaves of the sample, it is
    // proved to be optimal, or some atoms enter, and it becomes that of a larger support. Without,
    // in the first round, it becomes that of the support to start from.
    State round(T* correlation) {
        State state = correlation != nullptr ? examine(correlation) : State::unfinished;
        // In multiply-adds of a Gram matrix: half of those of a round, whose sample shares the way
        // through the atoms with others, and half again as many as those of single products.
        spent_ += 0.5 * double(problem_.atoms.n_rows) * double(problem_.atoms.n_columns);
        if (state == State::unfinished && !problem_.gram && spent_ > problem_.budget)
            return State::too_dear;
        if (state == State::unfinished && !minimise()) state = State::lost;
        if (state == State::lost && is_warm_) {  // the start may have been a bad one
            is_warm_ = false;
            clear();
            objective_ = 0;
            state = State::unfinished;
        }
        return state;
    }

    // D (x - a D)' by the Gram matrix.
    void correlate(T* correlation) const {
        std::copy_n(products_, problem_.atoms.n_rows, correlation);
        subtract_rows(correlation, problem_.atoms.n_rows, support_.size(), values(),
                      rows_of(problem_.gram));
    }

    // x - a D
    const double* remainder() const {
        const std::size_t n = problem_.atoms.n_columns;
        std::copy_n(x_, n, work_.remainder.get());
        subtract_rows(work_.remainder.get(), n, support_.size(), values(), rows_of(problem_.atoms));
        return work_.remainder.get();
    }

    // The code, and the factor of the equations on its support.
    const Support& support() const { return support_; }
    const Cholesky& factor() const { return factor_; }
    // Whether the equations on the support are nearly singular: their derivative takes a ridge.
    bool is_nearly_singular() const {
        double largest = 0;
        for (std::size_t i = 0; i < support_.size(); ++i)
            largest = std::max(largest, problem_.product(support_[i].atom, support_[i].atom));
        return factor_.smallest_pivot() < std::sqrt(eps) * (largest + problem_.lambda2);
    }
    // Largest violation of optimality, or a bound on it, in units of lambda1.
    double residual() const { return residual_; }

  private:
    static constexpr double eps = std::numeric_limits<T>::epsilon();

    // Prove the code to be optimal, or let atoms enter.
    State examine(T* correlation) {
        double norm_code = 0;
        for (std::size_t i = 0; i < support_.size(); ++i) {
            norm_code += std::abs(support_[i].value);
            correlation[support_[i].atom] = 0;  // as they have to be
        }
        double worst = -problem_.lambda1;
        for (std::size_t i = 0; i < problem_.n_stretches(); ++i) {
            work_.maxima[i] = problem_.strongest(correlation, i);
            worst = std::max(worst, work_.maxima[i] - problem_.lambda1);
        }
        const double length = problem_.atom_norm;
        const double noise =
            noise_eps * eps * length * (norm_x_ + length * norm_code) + problem_.underflow();
        if (rounds_++ == problem_.max_rounds) {
            residual_ = (std::max(worst, 0.0) + noise) / problem_.lambda1;
            return State::out_of_rounds;
        }
        if (worst <= noise || stalled_) return certify(correlation, worst, noise, norm_code);
        enter(correlation, worst);
        return State::unfinished;
    }

    // The minimiser for some support and signs, of which none turns.
    bool minimise() {
        do {
            if (!factorise()) return false;
            minimise_on_support();
        } while (drop_crossed());
        // Several atoms that enter or leave at once may lead in a circle. One at a time they do
        // not, unless what is gained is less than the objective is rounded by.
        double objective = 0;
        for (std::size_t i = 0; i < support_.size(); ++i)
            objective -= linear(i) * support_[i].value;
        stalled_ = cautious_ && !(objective < objective_);
        cautious_ = cautious_ || !(objective < objective_);
        objective_ = objective;
        return true;
    }

    // L L' = D_S D_S' + lambda2 I. Atoms that depend on those before them leave.
    bool factorise() {
        for (;;) {
            extend_factor();
            const std::size_t dependent = factor_.size();
            if (dependent == support_.size()) return true;
            if (dependent < known_) return false;
            if (dependent == known_ && known_ > 0) {
                // It improves on the whole of a solved support: it takes the place of one of it.
                const std::size_t leaves = exchange(known_);
                if (leaves == known_) return false;
                support_.shrink(known_ + 1);  // weaker candidates have to wait
                support_.remove(leaves);
                factor_.shrink(leaves);
                solved_ = std::min(solved_, leaves);
            } else {
                support_.remove(dependent);
            }
            known_ = std::min(known_, support_.size());
        }
    }

    // The minimiser on the support S, as long as no sign turns:
    //
    //     (D_S D_S' + lambda2 I) a_S = D_S x' - lambda1 sign_S
    void minimise_on_support() {
        const std::size_t size = support_.size();
        double* next = right_sides(size);
        const std::size_t first = solved_ / Cholesky::block * Cholesky::block;
        for (std::size_t i = first; i < size; ++i) next[i] = linear(i);
        lower_.reserve(Cholesky::padded(size), first);
        Cholesky::solve_lower(factor_.data(), next, first, size, lower_.get());
        solved_ = size;
        std::copy_n(lower_.get(), Cholesky::padded(size), next);
        Cholesky::solve_upper(factor_.data(), size, next);
    }

    // Atoms whose sign has turned, a_j sign_j <= 0, leave; whether there are any. If not, the code
    // is the minimiser. Cautious, the code moves by a share t of the way to it,
    //
    //     a + t (a_S - a),    t = min_j a_j / (a_j - a_Sj) over those that turn,
    //
    // and the one atom leaves that becomes zero there.
    bool drop_crossed() {
        const double* next = work_.next.get();
        const auto crossed = [&](std::size_t i) { return next[i] * support_[i].sign <= 0; };
        std::size_t leaves = 0;
        while (leaves < support_.size() && !crossed(leaves)) ++leaves;
        if (leaves == support_.size()) {
            for (std::size_t i = 0; i < support_.size(); ++i) support_[i].value = next[i];
            return false;
        }
        if (cautious_) {
            double step = 1;
            for (std::size_t i = leaves, first = leaves; i < support_.size(); ++i) {
                if (!crossed(i)) continue;
                const double way = support_[i].value - next[i];
                const double share = way != 0 ? support_[i].value / way : 0;
                if (share < step || i == first) step = share, leaves = i;
            }
            for (std::size_t i = 0; i < support_.size(); ++i)
                support_[i].value += step * (next[i] - support_[i].value);
            support_.remove(leaves);
        } else {
            std::size_t kept = leaves;
            for (std::size_t i = leaves; i < support_.size(); ++i)
                if (!crossed(i)) support_[kept++] = support_[i];
            support_.shrink(kept);
        }
        known_ = support_.size();
        factor_.shrink(leaves);
        solved_ = leaves;
        return true;
    }

    // The atoms off the support that violate optimality most enter, with the signs of their
    // correlations:
    //
    //     |D_j (x - a D)'| > lambda1
    void enter(T* correlation, double worst) {
        const std::size_t most = cautious_ ? 1 : std::max(most_entering, support_.size() / 8);
        const double bound = problem_.lambda1 + (cautious_ ? 1 : entering_share) * worst;
        T* maxima = work_.maxima.get();
        known_ = support_.size();
        while (support_.size() < known_ + most) {
            const std::size_t stretch =
                std::max_element(maxima, maxima + problem_.n_stretches()) - maxima;
            const T strongest = maxima[stretch];
            if (!(strongest >= bound)) break;
            std::size_t atom = stretch * stretch_size;
            while (problem_.magnitude(correlation[atom]) != strongest) ++atom;
            support_.push(atom, correlation[atom], right_side(atom));
            correlation[atom] = 0;
            maxima[stretch] = problem_.strongest(correlation, stretch);
        }
    }

    // All is decided but for rounding: from here on in float64, from the sample itself, with the
    // support in sorted order, so that the code does not depend on the way that led here. It is
    // optimal where
    //
    //     D_S (x - a D)' - lambda2 a_S = lambda1 sign_S,    |D_j (x - a D)'| <= lambda1 elsewhere
    State certify(const T* correlation, double worst, double noise, double norm_code) {
        if (++certificates_ > most_certificates) return State::lost;
        const std::size_t size = support_.size();
        if (!factor_.shrink_to_whole_blocks(support_.sort()) || certificates_ > 1) {
            extend_factor();
            if (factor_.size() < size) return State::lost;
            double* next = right_sides(size);
            for (std::size_t i = 0; i < size; ++i) {
                support_[i].right = right_side(support_[i].atom);
                next[i] = linear(i);
            }
            Cholesky::solve(factor_.data(), size, next);
            for (std::size_t i = 0; i < size; ++i) support_[i].value = next[i];
        }
        const double floor = std::max(exact * problem_.lambda1,
                                      noise / eps * std::numeric_limits<double>::epsilon());
        double moved = 0;
        double residual = newton(floor, moved);
        if (!(residual <= floor)) return State::lost;
        objective_ = std::numeric_limits<double>::infinity();
        solved_ = 0;
        known_ = size;
        for (std::size_t i = 0; i < size; ++i)
            if (!(support_[i].value * support_[i].sign > 0)) return State::unfinished;

        const double length = problem_.atom_norm;
        noise += length * moved;
        if (worst > -noise) {  // others may be as strong
            remainder();
            for (std::size_t j = 0, used = 0; j < problem_.atoms.n_rows; ++j) {
                if (used < size && support_[used].atom == j) {
                    ++used;
                    continue;
                }
                if (!(problem_.magnitude(correlation[j]) > problem_.lambda1 - noise)) continue;
                const double value =
                    dot(problem_.atoms[j], work_.remainder.get(), problem_.atoms.n_columns);
                const double violation = problem_.magnitude(value) - problem_.lambda1;
                residual = std::max(residual, violation);
                if (violation <= floor || support_.size() == size + most_entering) continue;
                double right = value;
                for (std::size_t i = 0; i < size; ++i)
                    right += problem_.product(j, support_[i].atom) * support_[i].value;
                support_.push(j, value, right);
            }
            if (support_.size() > size) return State::unfinished;
        }
        // Rounding the code to its type moves the correlations by at most this.
        const double rounding = 0.5 * eps * (length * length + problem_.lambda2) * norm_code;
        residual_ = (residual + rounding) / problem_.lambda1;
        return State::optimal;
    }

    // Newton steps on the support, until its equations hold to `floor`; what they hold to.
    //
    //     a_S += (D_S D_S' + lambda2 I)^-1 (D_S (x - a D)' - lambda2 a_S - lambda1 sign_S)
    //
    // `moved`: a bound on how far a D has gone, ||da D||^2 <= r' (D_S D_S' + lambda2 I)^-1 r.
    double newton(double floor, double& moved) {
        const std::size_t size = support_.size();
        double* next = right_sides(size);
        for (int step = 0;; ++step) {
            remainder();
            double residual = 0;
            for (std::size_t i = 0; i < size; ++i) {
                const Entry& entry = support_[i];
                next[i] = dot(problem_.atoms[entry.atom], work_.remainder.get(),
                              problem_.atoms.n_columns);
                next[i] -= problem_.lambda2 * entry.value + problem_.lambda1 * entry.sign;
                residual = std::max(residual, std::abs(next[i]));
            }
            if (residual <= floor || step == most_newton_steps) return residual;
            // What is left goes into the right-hand side, which is then that of the exact problem,
            // at this code.
            for (std::size_t i = 0; i < size; ++i) support_[i].right += next[i];
            Cholesky::solve_lower(factor_.data(), next, 0, size, next);
            double square = 0;
            for (std::size_t i = 0; i < size; ++i) square += next[i] * next[i];
            moved += std::sqrt(square);
            Cholesky::solve_upper(factor_.data(), size, next);
            double change = 0;
            for (std::size_t i = 0; i < size; ++i) {
                support_[i].value += next[i];
                change += std::abs(next[i]);
            }
            // A step is as exact as the products of atoms in the factor.
            residual = noise_eps * eps * problem_.atom_norm * problem_.atom_norm * change;
            if (residual <= floor) return residual;
        }
    }

    // Let in the atom at `last`, which is a combination of those before: they shrink as it grows.
    // What the code stands for stays the same, and its l1 norm falls, until one of them is zero:
    // which one, or `last` if none shrinks.
    std::size_t exchange(std::size_t last) {
        Entry& entering = support_[last];
        double* next = right_sides(last);
        for (std::size_t i = 0; i < last; ++i)
            next[i] = problem_.product(entering.atom, support_[i].atom);
        Cholesky::solve(factor_.data(), last, next);
        std::size_t leaves = last;
        double step = std::numeric_limits<double>::infinity();
        for (std::size_t i = 0; i < last; ++i) {
            const double rate = entering.sign * support_[i].sign * next[i];
            const double size = std::abs(support_[i].value);
            if (rate > 0 && size < step * rate) leaves = i, step = size / rate;
        }
        if (leaves == last) return last;
        entering.value = entering.sign * step;
        for (std::size_t i = 0; i < last; ++i) support_[i].value -= entering.value * next[i];
        return leaves;
    }

    // Room for a vector that the factor is to solve for, with zeros after its end.
    double* right_sides(std::size_t size) const {
        work_.next.reserve(Cholesky::padded(size));
        std::fill_n(work_.next.get() + size, Cholesky::padded(size) - size, 0.0);
        return work_.next.get();
    }

    double linear(std::size_t i) const {
        return support_[i].right - problem_.lambda1 * support_[i].sign;
    }

    void extend_factor() {
        const auto entries = [this](std::size_t j, double* row) {
            for (std::size_t i = 0; i <= j; ++i)
                row[i * Cholesky::block] = problem_.product(support_[j].atom, support_[i].atom);
            row[j * Cholesky::block] += problem_.lambda2;
            spent_ += 1.5 * double(j + 1) * double(problem_.atoms.n_columns);
        };
        factor_.extend(support_.size(), pivot_eps * eps, entries, work_.columns);
    }

    double right_side(std::size_t atom) const {
        if (products_ != nullptr) return products_[atom];
        return dot(problem_.atoms[atom], x_, problem_.atoms.n_columns);
    }

    auto values() const {
        return [this](std::size_t i) { return support_[i].value; };
    }

    auto rows_of(const Rows<const T>& rows) const {
        return [this, &rows](std::size_t i) { return rows[support_[i].atom]; };
    }

    void clear() {
        support_.shrink(0);
        known_ = solved_ = 0;
        certificates_ = 0;
        objective_ = std::numeric_limits<double>::infinity();
        cautious_ = stalled_ = false;
        factor_.shrink(0);
    }

    const Problem<T>& problem_;
    Workspace<T>& work_;
    const T *x_ = nullptr, *products_ = nullptr;
    double norm_x_ = 0, residual_ = 0, objective_ = 0;
    double spent_ = 0;  // on what the Gram matrix would have saved
    std::size_t rounds_ = 0;
    int certificates_ = 0;
    // After a step that did not lower the objective: atoms enter and leave one by one; not even so.
    bool cautious_ = false, stalled_ = false;
    bool is_warm_ = false;  // has started from a support

    // How much of the support was solved before others entered, and how much of `lower_`,
    // L^-1 (right - lambda1 sign), is that of the factor.
    std::size_t known_ = 0, solved_ = 0;
    Support support_;
    Buffer<double> lower_;
    Cholesky factor_;
};

}  // namespace skddl
