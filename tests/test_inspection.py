"""Tests of skddl.inspection: what is in the pictures, not its pixels."""

import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import DictionaryLearning
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skddl import (
    ConvNetClassifier,
    DeepDictionaryClassifier,
    OnlineDictionaryLearning,
    SampleNormalizer,
    TaskDrivenDictionaryClassifier,
    TaskDrivenDictionaryRegressor,
)
from skddl.inspection import (
    ClassifierWeightsDisplay,
    DictionaryDisplay,
    ExplanationDisplay,
    SparsityDisplay,
    TrainingCurveDisplay,
)
from tests.data import small_digits

plt = pytest.importorskip("matplotlib.pyplot")
X, y = small_digits()
DISPLAYS = {
    "dictionary": DictionaryDisplay.from_estimator,
    "weights": ClassifierWeightsDisplay.from_estimator,
    "training": TrainingCurveDisplay.from_estimator,
    "sparsity": lambda estimator, **options: SparsityDisplay.from_estimator(
        estimator, X, **options
    ),
    "explanation": lambda estimator, **options: ExplanationDisplay.from_estimator(
        estimator, X[0], **options
    ),
}


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def clf():
    return TaskDrivenDictionaryClassifier(30, max_iter=30, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def images():
    return X.reshape(-1, 1, 8, 8)


def axes_of(display):
    return np.ravel(display.ax_)


@pytest.mark.parametrize("draw", DISPLAYS.values(), ids=DISPLAYS)
def test_a_display_draws_in_a_new_figure_and_on_given_axes(clf, draw):
    display = draw(clf)
    axes = axes_of(display)
    assert all(ax.figure is display.figure_ for ax in axes)
    assert all(ax.has_data() for ax in axes)
    figure, given = plt.subplots(1, len(axes))
    again = draw(clf, ax=given)
    assert again.figure_ is figure
    assert list(axes_of(again)) == list(np.ravel(given))
    assert len(plt.get_fignums()) == 2
    # What was found can be drawn once more, without the estimator.
    assert display.plot() is display
    display.figure_.canvas.draw()


@pytest.mark.parametrize("draw", DISPLAYS.values(), ids=DISPLAYS)
def test_an_estimator_that_is_not_fitted_is_refused(draw):
    for estimator in (
        TaskDrivenDictionaryClassifier(),
        make_pipeline(SampleNormalizer(), TaskDrivenDictionaryClassifier()),
    ):
        with pytest.raises(NotFittedError):
            draw(estimator)
    assert not plt.get_fignums()


@pytest.mark.parametrize("draw", DISPLAYS.values(), ids=DISPLAYS)
def test_without_matplotlib_the_way_to_it_is_named(clf, draw, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"needs matplotlib: .*skddl\[plot\]"):
        draw(clf)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (DISPLAYS["dictionary"], "LogisticRegression has no dictionary"),
        (DISPLAYS["training"], "LogisticRegression has no loss_curve_"),
    ],
)
def test_an_estimator_of_another_kind_is_refused(draw, message):
    with pytest.raises(TypeError, match=message):
        draw(LogisticRegression().fit(X, y))


def test_weights_need_a_linear_classifier():
    model = OnlineDictionaryLearning(5, max_iter=2, random_state=0).fit(X)
    with pytest.raises(TypeError, match="no linear classifier"):
        ClassifierWeightsDisplay.from_estimator(model)


def test_atoms_of_the_samples_themselves_are_shown_as_they_are(images):
    for estimator in (
        OnlineDictionaryLearning(10, max_iter=2, random_state=0),
        DictionaryLearning(10, max_iter=1, random_state=0),
        TaskDrivenDictionaryClassifier(10, features="identity", max_iter=2, random_state=0),
    ):
        estimator.fit(X, y)
        display = DictionaryDisplay.from_estimator(estimator, image_shape=(8, 8))
        np.testing.assert_array_equal(display.atoms.reshape(10, 64), estimator.components_)
        # Each is scaled to its own largest value; between them is nothing.
        canvas = display.image_.get_array()
        assert np.ma.masked_invalid(canvas).mask.any()
        assert np.nanmax(np.abs(canvas.filled(np.nan))) == pytest.approx(1)


def test_an_atom_under_linear_features_has_itself_as_its_features(clf):
    atoms = DictionaryDisplay.from_estimator(clf).atoms
    module = clf.module_.features
    with torch.no_grad():
        zero = module(torch.zeros(1, 64))
        features = (module(torch.from_numpy(atoms).float()) - zero).numpy()
    # Up to the intercept, and to the factor that it has.
    for found, atom in zip(features, clf.components_, strict=True):
        basis = np.column_stack([atom, zero[0]])
        rest = found - basis @ np.linalg.lstsq(basis, found, rcond=None)[0]
        assert np.linalg.norm(rest) <= 0.05 * np.linalg.norm(found)


def test_an_atom_under_a_cnn_is_the_mean_of_the_samples_that_it_codes(images):
    model = TaskDrivenDictionaryClassifier(10, features="lenet", max_iter=2, random_state=0)
    model.fit(images, y)
    with pytest.raises(ValueError, match="pass samples X"):
        DictionaryDisplay.from_estimator(model)
    codes = model.transform(images)
    expected = (codes.T @ X) / np.abs(codes).sum(0)[:, None]
    for given in (X, images):
        display = DictionaryDisplay.from_estimator(model, given)
        assert display.atoms.shape == (10, 1, 8, 8)
        np.testing.assert_allclose(display.atoms.reshape(10, 64), expected, rtol=1e-5, atol=1e-6)


def test_atoms_of_patches_have_the_shape_of_patches(images):
    model = DeepDictionaryClassifier((6, 4), patch_size=3, stride=2, max_iter=2, random_state=0)
    model.fit(images, y)
    assert DictionaryDisplay.from_estimator(model).atoms.shape == (6, 1, 3, 3)
    assert DictionaryDisplay.from_estimator(model, layer=1).atoms.shape == (4, 54)


def test_atoms_of_deeper_layers_are_means_of_what_they_see(images):
    model = DeepDictionaryClassifier(
        (6, 4, 5),
        patch_size=(3, 2, None),
        stride=(2, 1, 1),
        padding=(1, 0, 0),
        lambda2=0.05,
        max_iter=2,
        random_state=0,
    ).fit(images, y)
    display = DictionaryDisplay.from_estimator(model, images, layer=1)
    # A patch of 2 x 2 places, 2 pixels apart, each of which sees 3 x 3.
    assert display.atoms.shape == (4, 1, 5, 5)
    with torch.no_grad():
        maps = model.module_.layers[:5](torch.from_numpy(X).float()).numpy()
    assert maps.shape[1:] == (4, 3, 3)
    padded = np.pad(images[:, 0], [(0, 0), (1, 1), (1, 1)])
    expected = np.zeros((4, 5, 5))
    for row in range(3):
        for column in range(3):
            seen = padded[:, 2 * row : 2 * row + 5, 2 * column : 2 * column + 5]
            expected += np.einsum("nk,nij->kij", maps[:, :, row, column], seen)
    expected /= np.abs(maps).sum((0, 2, 3))[:, None, None]
    np.testing.assert_allclose(display.atoms[:, 0], expected, rtol=1e-4, atol=1e-6)

    top = DictionaryDisplay.from_estimator(model, images, layer=2)
    codes = model.transform(images)
    means = (codes.T @ X) / np.maximum(np.abs(codes).sum(0), 1e-30)[:, None]
    np.testing.assert_allclose(top.atoms.reshape(5, 64), means, rtol=1e-4, atol=1e-6)


def test_explanation_takes_a_row_of_a_frame_and_knows_the_names():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X[:, :12]).rename(columns=lambda number: f"pixel {number}")
    frame["kind"] = np.where(X[:, 30] > 0.1, "dark", "light")
    prepare = ColumnTransformer(
        [("numbers", StandardScaler(), frame.columns[:12]), ("kind", OneHotEncoder(), ["kind"])]
    )
    model = TaskDrivenDictionaryClassifier(10, features="identity", max_iter=2, random_state=0)
    pipeline = make_pipeline(prepare, model).fit(frame, y)
    expected = ExplanationDisplay.from_estimator(model, prepare.transform(frame)[3])
    assert expected.feature_names is None
    for row in (frame.iloc[3], frame.iloc[[3]]):
        display = ExplanationDisplay.from_estimator(pipeline, row)
        np.testing.assert_array_equal(display.sample, expected.sample)
        labels = [label.get_text() for label in display.ax_[0].get_xticklabels()]
        assert labels[:2] == ["numbers__pixel 0", "numbers__pixel 1"]
        assert len(labels) == 14
    with pytest.raises(ValueError, match="a single one, got 2"):
        ExplanationDisplay.from_estimator(pipeline, frame.iloc[:2])


def test_colours_are_drawn_as_colours():
    rng = np.random.default_rng(0)
    display = DictionaryDisplay(rng.normal(size=(5, 3, 4, 6))).plot(n_cols=2)
    canvas = display.image_.get_array()
    assert canvas.shape == (3 * 5 - 1, 2 * 7 - 1, 3)
    assert canvas.min() >= 0 and canvas.max() <= 1
    with pytest.raises(ValueError, match="1 or 3 channels, these have 2"):
        DictionaryDisplay(np.ones((5, 2, 4, 6))).plot()


def test_atoms_that_are_no_images_are_curves(clf):
    display = DictionaryDisplay.from_estimator(clf, max_atoms=7)
    assert display.image_ is None
    assert len(display.lines_) == 7
    assert display.indices.tolist() == [0, 5, 10, 14, 19, 24, 29]
    with pytest.raises(ValueError, match=r"image_shape=\(7, 8\) means 56 values, .* 64"):
        DictionaryDisplay.from_estimator(clf, image_shape=(7, 8))


def test_weights_are_those_of_the_classes(clf):
    display = ClassifierWeightsDisplay.from_estimator(clf)
    np.testing.assert_array_equal(display.coef, clf.coef_)
    labels = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert labels == [str(label) for label in clf.classes_]
    assert len(display.lines_) == len(clf.classes_)


def test_training_curve_has_the_loss_and_the_validation_scores(clf):
    display = TrainingCurveDisplay.from_estimator(clf)
    np.testing.assert_array_equal(display.lines_["iteration"].get_ydata(), clf.loss_curve_)
    assert display.score_ax_ is None
    model = ConvNetClassifier(
        (5,), early_stopping=True, max_epochs=3, learning_rate=0.01, random_state=0
    ).fit(X, y)
    display = TrainingCurveDisplay.from_estimator(model)
    scores = [entry["validation_score"] for entry in model.history_ if "validation_score" in entry]
    assert display.lines_["validation"].get_ydata().tolist() == scores


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_sparsity_counts_non_zeros_and_dead_atoms(kind):
    codes = np.zeros((4, 5))
    codes[0, [0, 3]], codes[1, 3], codes[3, 3] = 1.0, -2.0, 0.5
    display = SparsityDisplay.from_predictions(kind(codes))
    assert display.n_nonzero.tolist() == [2, 1, 0, 1]
    assert display.use.tolist() == [0.25, 0, 0, 0.75, 0]
    assert display.dead_.tolist() == [1, 2, 4]
    with pytest.raises(ValueError, match="draws on 2 axes"):
        display.plot(ax=plt.gca())


def test_the_histogram_has_every_code():
    for n_components in (5, 83, 299):
        codes = np.tril(np.ones((n_components, n_components)))
        display = SparsityDisplay.from_predictions(codes)
        assert sum(bar.get_height() for bar in display.ax_[0].patches) == n_components


def test_codes_may_be_lists_but_not_empty():
    assert SparsityDisplay.from_predictions([[0.0, 1.0], [0.0, 2.0]]).dead_.tolist() == [0]
    with pytest.raises(ValueError, match="0 sample"):
        SparsityDisplay.from_predictions(np.empty((0, 3)))


@pytest.mark.parametrize("name", DISPLAYS)
def test_a_search_is_shown_by_what_it_found(name):
    model = TaskDrivenDictionaryClassifier(10, features="identity", max_iter=2, random_state=0)
    search = GridSearchCV(model, {"nu1": [1e-3]}, cv=2)
    with pytest.raises(NotFittedError):
        DISPLAYS[name](search)
    display = DISPLAYS[name](search.fit(X, y))
    assert type(display) is type(DISPLAYS[name](search.best_estimator_))


def test_a_sample_may_be_a_batch_of_one(clf):
    expected = ExplanationDisplay.from_estimator(clf, X[3])
    np.testing.assert_array_equal(
        ExplanationDisplay.from_estimator(clf, X[3:4]).sample, expected.sample
    )
    with pytest.raises(ValueError, match="a single one, got 2"):
        ExplanationDisplay.from_estimator(clf, X[:2])


def test_what_is_not_there_cannot_be_shown(clf):
    with pytest.raises(ValueError, match="layer == 1, must be <= 0"):
        DictionaryDisplay.from_estimator(clf, layer=1)
    with pytest.raises(ValueError, match="max_atoms == 0, must be >= 1"):
        DictionaryDisplay.from_estimator(clf, max_atoms=0)
    with pytest.raises(ValueError, match="max_atoms == -1, must be >= 1"):
        ExplanationDisplay.from_estimator(clf, X[0], max_atoms=-1)
    with pytest.raises(TypeError, match=r"LogisticRegression has no codes"):
        SparsityDisplay.from_estimator(LogisticRegression().fit(X, y), X)
    with pytest.raises(ValueError, match="draws on 1 axes: pass ax=None, or one of them"):
        TrainingCurveDisplay.from_estimator(clf, ax=plt.subplots(1, 2)[1])


def test_atoms_are_shown_by_the_features_that_the_model_was_made_with(clf):
    expected = DictionaryDisplay.from_estimator(clf).atoms
    changed = deepcopy(clf).set_params(features="identity")
    np.testing.assert_array_equal(DictionaryDisplay.from_estimator(changed).atoms, expected)


def test_an_image_to_explain_has_channels_that_can_be_drawn():
    model = TaskDrivenDictionaryClassifier(10, features="identity", max_iter=2, random_state=0)
    images = X.reshape(-1, 2, 8, 4)
    with pytest.raises(ValueError, match="1 or 3 channels, these have 2"):
        ExplanationDisplay.from_estimator(model.fit(images, y), images[0])


def test_an_explanation_adds_up_to_the_difference_of_the_scores(clf):
    model = make_pipeline(SampleNormalizer(), clf)
    scores = np.sort(model.decision_function(X[3:4])[0])
    display = ExplanationDisplay.from_estimator(model, X[3], max_atoms=3)
    assert len(display.atoms) == 3
    assert display.contributions.sum() + display.others + display.intercept == pytest.approx(
        scores[-1] - scores[-2], rel=1e-4
    )
    assert display.names[0] == str(model.predict(X[3:4])[0])
    np.testing.assert_allclose(display.sample, SampleNormalizer().fit_transform(X[3:4])[0])
    code = model.transform(X[3:4])[0]
    np.testing.assert_array_equal(display.coefficients, code[display.indices])


def test_an_explanation_of_a_regression_adds_up_to_the_output():
    target = np.column_stack([X[:, 20], X[:, 30]])
    model = TaskDrivenDictionaryRegressor(20, max_iter=20, random_state=0).fit(X, target)
    display = ExplanationDisplay.from_estimator(model, X[3], output=1)
    assert display.contributions.sum() + display.others + display.intercept == pytest.approx(
        model.predict(X[3:4])[0, 1], rel=1e-4
    )


def test_what_has_no_single_dictionary_is_not_explained():
    model = DeepDictionaryClassifier((6, 4), max_iter=2, random_state=0).fit(X, y)
    for estimator in (
        model,
        LogisticRegression().fit(X, y),
        OnlineDictionaryLearning(5, max_iter=2, random_state=0).fit(X),
    ):
        with pytest.raises(TypeError, match="no linear output over a single dictionary"):
            ExplanationDisplay.from_estimator(estimator, X[0])


def test_an_image_is_explained_as_it_is_given(images):
    model = TaskDrivenDictionaryClassifier(10, max_iter=2, random_state=0).fit(images, y)
    display = ExplanationDisplay.from_estimator(model, images[4])
    np.testing.assert_array_equal(display.sample, images[4])
    assert display.atoms.shape[1:] == (1, 8, 8)
