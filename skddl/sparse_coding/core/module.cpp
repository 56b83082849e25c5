// What Python sees: functions of arrays, which are checked here and held while they are in use.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "atoms.hpp"
#include "derivative.hpp"
#include "encode.hpp"
#include "finite.hpp"
#include "interrupt.hpp"
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

// Whether a handler of a signal, such as that of Ctrl-C, has raised an error.
bool has_signal() {
    const nb::gil_scoped_acquire acquire;
    return PyErr_CheckSignals() != 0;
}

template <class T>
void gram_matrix(const Team& team, unsigned n_threads, const Matrix<const T>& dictionary,
                 const Matrix<T>& gram) {
    require_shape("gram", gram, dictionary.shape(0), dictionary.shape(0));
    const nb::gil_scoped_release release;
    const Rows<const T> atoms = rows_of(dictionary);
    form_gram(atoms, Panels<T>(atoms, team, n_threads), rows_of(gram), team, n_threads);
}

template <class T>
void update_block(const Matrix<const T>& gram, const Matrix<T>& residual, const Matrix<T>& atoms,
                  bool positive) {
    require_shape("gram", gram, atoms.shape(0), atoms.shape(0));
    require_shape("residual", residual, atoms.shape(0), atoms.shape(1));
    const nb::gil_scoped_release release;
    update_atoms(rows_of(gram), rows_of(residual), rows_of(atoms), positive);
}

// The derivative of the codes of a batch.
template <class T>
class Derivative {
  public:
    Derivative(const Matrix<const T>& dictionary, std::size_t n_samples, double lambda2)
        : kept(n_samples, dictionary.shape(1), lambda2), dictionary_(dictionary) {}

    // Samples that have none here: their systems are nearly singular, or were not solved.
    std::vector<std::size_t> missing() const {
        std::vector<std::size_t> found;
        for (std::size_t i = 0; i < kept.samples.size(); ++i)
            if (!kept.samples[i].is_known) found.push_back(i);
        return found;
    }

    // Take note that the codes of some samples were changed.
    void forget(const std::vector<std::size_t>& samples) {
        for (const std::size_t i : samples) kept.samples.at(i).is_known = false;
    }

    // dl/dX and, if wanted, dl/ddictionary, from dl/dcodes.
    void gradient(const Team& team, unsigned n_threads, const Matrix<const T>& grad_codes,
                  const Matrix<T>& grad_X, const std::optional<Matrix<T>>& grad_dictionary) const {
        const std::size_t n_atoms = dictionary_.shape(0), n_features = dictionary_.shape(1);
        require_shape("grad_codes", grad_codes, kept.samples.size(), n_atoms);
        require_shape("grad_X", grad_X, kept.samples.size(), n_features);
        if (grad_dictionary)
            require_shape("grad_dictionary", *grad_dictionary, n_atoms, n_features);
        const nb::gil_scoped_release release;
        Differentiation<T>(kept, rows_of(dictionary_), rows_of(grad_codes), rows_of(grad_X),
                           grad_dictionary ? rows_of(*grad_dictionary) : Rows<T>{})
            .run(team, n_threads);
    }

    KeptBatch<T> kept;

  private:
    Matrix<const T> dictionary_;
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
std::optional<Derivative<T>> encode_batch(
    const Team& team, unsigned n_threads, const Matrix<const T>& X,
    const Matrix<const T>& dictionary, const std::optional<Matrix<const T>>& gram,
    const std::optional<Matrix<const T>>& init, const std::optional<SupportArrays>& supports,
    const Matrix<T>& codes, const Array<double, 1>& residuals, double lambda1, double lambda2,
    bool positive, std::size_t max_rounds, bool differentiable) {
    const std::size_t n_samples = X.shape(0), n_atoms = dictionary.shape(0);
    require_shape("dictionary", dictionary, n_atoms, X.shape(1));
    require_shape("codes", codes, n_samples, n_atoms);
    if (gram) require_shape("gram", *gram, n_atoms, n_atoms);
    if (init) require_shape("init", *init, n_samples, n_atoms);
    if (residuals.shape(0) != n_samples) throw nb::value_error("residuals has another length");
    std::optional<Derivative<T>> derivative;
    if (differentiable || supports) derivative.emplace(dictionary, n_samples, lambda2);
    const Batch<T> batch{rows_of(X),
                         rows_of(dictionary),
                         gram ? rows_of(*gram) : Rows<const T>{},
                         init ? rows_of(*init) : Rows<const T>{},
                         supports ? supports_of(*supports, n_samples) : Supports{},
                         lambda1,
                         lambda2,
                         positive,
                         max_rounds,
                         rows_of(codes),
                         residuals.data(),
                         derivative ? &derivative->kept : nullptr,
                         differentiable};
    Interrupt interrupt(has_signal);
    try {
        const nb::gil_scoped_release release;
        encode(batch, team, n_threads, interrupt);
        if (supports) write_supports(batch);
    } catch (const Interrupted&) {
        throw nb::python_error();
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
    m.def(
        "largest",
        [](const Array<const T, 1>& values) { return largest(values.data(), values.size()); },
        nb::call_guard<nb::gil_scoped_release>());
    m.def("gram_matrix", &gram_matrix<T>, "team"_a, "n_threads"_a, "dictionary"_a.noconvert(),
          "gram"_a.noconvert());
    m.def("update_atoms", &update_block<T>, "gram"_a.noconvert(), "residual"_a.noconvert(),
          "atoms"_a.noconvert(), "positive"_a);
    m.def("encode", &encode_batch<T>, "team"_a, "n_threads"_a, "X"_a.noconvert(),
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
