// What Python sees: functions of arrays, which are checked here and held while they are in use.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>

#include "loops.hpp"
#include "team.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace skddl {
namespace {

template <class T, int n>
using Array = nb::ndarray<T, nb::ndim<n>, nb::c_contig, nb::device::cpu>;
template <class T>
using Matrix = Array<T, 2>;

template <class T>
Rows<T> rows_of(const Matrix<T>& matrix) {
    return {matrix.data(), matrix.shape(0), matrix.shape(1)};
}

template <class A>
void require_shape(const char* name, const A& array, std::size_t n_rows, std::size_t n_columns) {
    if (array.shape(0) != n_rows || array.shape(1) != n_columns)
        throw nb::value_error((std::string(name) + " has a shape that does not fit").c_str());
}

template <class T>
void gram_matrix(const Team& team, unsigned n_threads, const Matrix<const T>& dictionary,
                 const Matrix<T>& gram) {
    require_shape("gram", gram, dictionary.shape(0), dictionary.shape(0));
    const nb::gil_scoped_release release;
    const Panels<T> panels(dictionary.shape(0), dictionary.shape(1));
    PackTask<T> packing{rows_of(dictionary), panels};
    team.run(n_threads, [&] { pack(packing); });
    GramTask<T> task{rows_of(dictionary), panels, rows_of(gram)};
    team.run(n_threads, [&] { form_gram(task); });
}

// The derivative of the codes of a batch.
template <class T>
class Derivative {
  public:
    Derivative(const Matrix<const T>& dictionary, std::size_t n_samples)
        : dictionary_(dictionary),
          kept(n_samples),
          remainders_(n_samples * dictionary.shape(1)) {}

    Rows<T> remainders() const {
        return {remainders_.get(), kept.size(), dictionary_.shape(1)};
    }

    // Samples that have none here: their systems are nearly singular, or were not solved.
    std::vector<std::size_t> missing() const {
        std::vector<std::size_t> found;
        for (std::size_t i = 0; i < kept.size(); ++i)
            if (!kept[i].is_known) found.push_back(i);
        return found;
    }

    // Take note that the codes of some samples were changed.
    void forget(const std::vector<std::size_t>& samples) {
        for (const std::size_t i : samples) kept.at(i).is_known = false;
    }

    // dl/dX and, if wanted, dl/ddictionary, from dl/dcodes.
    void gradient(const Team& team, unsigned n_threads, const Matrix<const T>& grad_codes,
                  const Matrix<T>& grad_X, const std::optional<Matrix<T>>& grad_dictionary) const {
        const std::size_t n_atoms = dictionary_.shape(0), n_features = dictionary_.shape(1);
        require_shape("grad_codes", grad_codes, kept.size(), n_atoms);
        require_shape("grad_X", grad_X, kept.size(), n_features);
        if (grad_dictionary) require_shape("grad_dictionary", *grad_dictionary, n_atoms, n_features);
        const nb::gil_scoped_release release;
            std::vector<std::vector<double>> beta(kept.size());
        DifferentiateTask<T> task{rows_of(dictionary_), kept, rows_of(grad_codes), beta,
                                  rows_of(grad_X)};
        team.run(n_threads, [&] { differentiate(task); });
        if (task.failed) throw std::bad_alloc();
        if (!grad_dictionary) return;
        const Rows<const T> grad_x{grad_X.data(), kept.size(), n_features};
        const Rows<const T> remainder{remainders_.get(), kept.size(), n_features};
        AccumulateTask<T> summing{kept, beta, remainder, grad_x, rows_of(*grad_dictionary)};
        team.run(n_threads, [&] { accumulate(summing); });
    }

  private:
    Matrix<const T> dictionary_;

  public:
    std::vector<Kept<T>> kept;

  private:
    Buffer<T> remainders_;
};

// Signed atoms from 1, their numbers, and which row belongs to each sample, if not the same.
using SupportArrays = std::tuple<Matrix<std::int32_t>, Array<std::int32_t, 1>,
                                 std::optional<Array<const std::int64_t, 1>>>;

Supports supports_of(const SupportArrays& arrays, std::size_t n_samples) {
    const auto& [atoms, sizes, rows] = arrays;
    if (atoms.shape(0) != sizes.shape(0) || (rows ? rows->shape(0) : sizes.shape(0)) != n_samples)
        throw nb::value_error("There must be one support for each sample.");
    const Supports supports{rows_of(atoms), sizes.data(), rows ? rows->data() : nullptr};
    for (std::size_t i = 0; i < n_samples; ++i)
        if (supports.row(i) >= atoms.shape(0)) throw nb::index_error("There is no such support.");
    return supports;
}

template <class T>
std::optional<Derivative<T>> encode_samples(
    const Team& team, unsigned n_threads, const Matrix<const T>& X,
    const Matrix<const T>& dictionary, const std::optional<Matrix<const T>>& gram,
    const std::optional<Matrix<const T>>& init,
    const std::optional<SupportArrays>& memory, const Matrix<T>& codes,
    const Array<double, 1>& residuals, double lambda1, double lambda2, bool positive,
    std::size_t max_rounds, bool differentiable) {
    const std::size_t n_samples = X.shape(0), n_atoms = dictionary.shape(0);
    require_shape("dictionary", dictionary, n_atoms, X.shape(1));
    require_shape("codes", codes, n_samples, n_atoms);
    if (gram) require_shape("gram", *gram, n_atoms, n_atoms);
    if (init) require_shape("init", *init, n_samples, n_atoms);
    const Supports supports = memory ? supports_of(*memory, n_samples) : Supports{};
    if (residuals.shape(0) != n_samples) throw nb::value_error("residuals do not fit");

    std::optional<Derivative<T>> derivative;
    if (differentiable || memory) derivative.emplace(dictionary, n_samples);

    const nb::gil_scoped_release release;
    const Rows<const T> samples = rows_of(X), atoms = rows_of(dictionary);
    const Rows<const T> starts = init ? rows_of(*init) : Rows<const T>{};
    const Panels<T> panels(n_atoms, X.shape(1));
    PackTask<T> packing{atoms, panels};
    team.run(n_threads, [&] { pack(packing); });
    std::vector<std::size_t> left(n_samples);
    std::iota(left.begin(), left.end(), std::size_t(0));
    Buffer<T> own_gram;
    Rows<const T> products = gram ? rows_of(*gram) : Rows<const T>{};
    bool pays = gram_pays(n_samples, n_atoms, X.shape(1), mean_size(starts));
    // Those for which it turns out to take too much without the Gram matrix are coded with it.
    for (; !left.empty(); pays = true) {
        if (!products && pays) {
            own_gram.reserve(n_atoms * n_atoms);
            GramTask<T> forming{atoms, panels, {own_gram.get(), n_atoms, n_atoms}};
            team.run(n_threads, [&] { form_gram(forming); });
            products = {own_gram.get(), n_atoms, n_atoms};
        }
        const double budget = products ? std::numeric_limits<double>::infinity()
                                       : 4 * work_of_gram(n_atoms, X.shape(1)) / double(n_samples);
        const Problem<T> problem{atoms,    products,   lambda1, lambda2,
                                 positive, max_rounds, longest(atoms, products), budget};
        EncodeTask<T> task{problem, panels, samples, starts, supports, left, rows_of(codes),
                           residuals.data(), derivative ? &derivative->kept : nullptr,
                           derivative ? derivative->remainders() : Rows<T>{}, n_threads};
        team.run(n_threads, [&] { encode(task); });
        if (task.failed) throw std::bad_alloc();
        left.erase(std::remove_if(left.begin(), left.end(),
                                  [&](std::size_t i) { return !(residuals.data()[i] < 0); }),
                   left.end());
    }
    if (memory) {
        for (std::size_t i = 0; i < n_samples; ++i) {
            const std::vector<std::int32_t>& found = derivative->kept[i].support;
            const std::size_t row = supports.row(i);
            const std::size_t size = std::min(found.size(), supports.atoms.n_columns);
            std::copy_n(found.data(), size, supports.atoms[row]);
            supports.sizes[row] = std::int32_t(size);
        }
    }
    return derivative;
}

template <class T>
void define(nb::module_& m, const char* name) {
    nb::class_<Derivative<T>>(m, name)
        .def_prop_ro("missing", &Derivative<T>::missing)
        .def("forget", &Derivative<T>::forget, "samples"_a)
        .def("gradient", &Derivative<T>::gradient, "team"_a, "n_threads"_a,
             "grad_codes"_a.noconvert(), "grad_X"_a.noconvert(),
             "grad_dictionary"_a.noconvert().none());
    m.def("largest", [](const Array<const T, 1>& values) {
        return largest(values.data(), values.size());
    });
    m.def("gram_matrix", &gram_matrix<T>, "team"_a, "n_threads"_a, "dictionary"_a.noconvert(),
          "gram"_a.noconvert());
    m.def("encode", &encode_samples<T>, "team"_a, "n_threads"_a, "X"_a.noconvert(),
          "dictionary"_a.noconvert(), "gram"_a.noconvert().none(), "init"_a.noconvert().none(),
          "supports"_a.noconvert().none(), "codes"_a.noconvert(), "residuals"_a.noconvert(),
          nb::kw_only(), "lambda1"_a, "lambda2"_a, "positive"_a, "max_rounds"_a,
          "differentiable"_a);
}

}  // namespace

// NB_MODULE takes names as they are written.
#define MODULE(name, variable) NB_MODULE(name, variable)

MODULE(SKDDL_MODULE, m) {
    nb::set_leak_warnings(false);  // objects may live until Python ends, in caches
    nb::class_<Team>(m, "Team")
        .def(nb::init<const std::string&>(), "openmp"_a)
        .def_prop_ro("is_openmp", &Team::is_openmp);
    m.def("gram_pays", [](std::size_t n_samples, std::size_t n_atoms, std::size_t n_features) {
        return gram_pays(n_samples, n_atoms, n_features, -1);
    });
    define<float>(m, "Derivative32");
    define<double>(m, "Derivative64");
}

}  // namespace skddl
