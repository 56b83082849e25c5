"""Networks of ReLUs as a scikit-learn estimator: what the papers compare with."""

from typing import Any, ClassVar

from sklearn.utils._param_validation import StrOptions

from ._network_classifier import ARCHITECTURES, NetworkClassifier
from .nn import ConvNet, LeNet, PlainNet, ResNet


class ConvNetClassifier(NetworkClassifier):
    """Networks of ReLUs: the twins of `DeTraMeClassifier`, and the full-CNN of paper 1.

    With the same parameters and seed, the network starts from the same weights as that of
    :class:`DeTraMeClassifier`, sees the same batches, and differs in the activations alone.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of ints, default=(100,)
        Number of units of each hidden layer; for ``architecture="dense"``.
    architecture : str or callable, default="dense"
        What stands under the linear classifier:

        - "dense": hidden layers (paper 2, Eq. 4), for tables. Images are taken as rows of pixels.
        - "conv-3": :class:`skddl.nn.ConvNet`, three convolutions with pooling, for images.
        - "plain-3", "plain-6", "plain-9", "plain-12": :class:`skddl.nn.PlainNet`, for images.
        - "resnet-8", "resnet-20", "resnet-56", "resnet-110": :class:`skddl.nn.ResNet`, for images.
        - "lenet": :class:`skddl.nn.LeNet`, paper 1's full-CNN, for images. `width`, `dropout` and
          `batch_norm` do not change it; it wants a `learning_rate` of 0.01 or less. Its weights
          start as in the paper, which had pixels from 0 to 255, where `standardize` is False and
          the samples are not bytes (which are divided by 255).
        - A callable takes the shape of a sample, (C, H, W) for images, else (n_features,), and
          returns a `torch.nn.Module` from batches of these to (n, n_features_out), such as the
          ``features`` of a network of `skddl.nn` with other `layers`. The parameters that describe
          the networks above do not change it. A model with a lambda cannot be pickled.
    image_shape : tuple (C, H, W), default=None
        Shape of the images whose pixels are the columns of `X`. Images given as (n, C, H, W)
        bring their shape along.
    width : float, default=1.0
        Factor on the number of filters of the networks for images.
    dropout : float or tuple of 2 floats, default=0.0
        Rate of dropout after each hidden layer, after each layer with a stride of a plain network,
        before each stage with a stride of a residual network, of the features of "conv-3". Two
        rates: at the input, and there.
    batch_norm : bool, default=True
        Whether a batch normalisation stands before each activation.
    standardize : bool, default=True
        Whether samples are brought to the mean 0 and the variance 1, by the statistics of the
        training data, per channel of images or per column of tables. It is part of the model.
    augment : {"shift", "flip", "shift-flip"} or callable, default=None
        How images are changed at random in training. "shift": moved by up to an eighth of their
        sides, zeros moving in. "flip": mirrored from left to right or not. A callable takes and
        returns images (n, C, H, W), before they are standardised; it should draw from torch's
        generators, which `random_state` seeds.
    max_epochs : int, default=200
        Number of passes over the samples.
    batch_size : int, default=128
        Samples per mini-batch.
    learning_rate : float, default=0.1
        Of the first step; `lr_schedule` says how it goes on.
    momentum : float, default=0.9
        Momentum of "sgd".
    nesterov : bool, default=False
        Whether the momentum of "sgd" is Nesterov's.
    weight_decay : float, default=5e-4
        Weight of half the squared norm of the parameters in the loss; of "adamw" decoupled from it.
    decay_all : bool, default=False
        Whether `weight_decay` also applies to the parameters of batch, layer and group
        normalisations.
    lr_schedule : {"step", "cosine", "linear", "constant"} or callable, default="step"
        Factor on the learning rate. "step": times 0.2 after 30 %, 60 % and 80 % of the steps, which
        is after 60, 120 and 160 of 200 epochs. "cosine": falls from 1 to 0 as half a cosine. A
        callable takes the share of the steps that are done, in [0, 1), and returns the factor. In
        `partial_fit` the factor is 1.
    label_smoothing : float, default=0.0
        Share of each label that is spread over all classes.
    optimizer : {"sgd", "adam", "adamw", "adagrad", "nadam", "rmsprop"}, default="sgd"
        The method that takes the steps. "adam" and its kin want a smaller `learning_rate`.
    mixed_precision : bool, default=False
        Whether training computes in bfloat16 where torch's autocast holds it to be safe. The
        parameters stay float32.
    compile : bool, default=False
        Whether training runs through `torch.compile`, which takes a minute to start.
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes in the loss.
    early_stopping : bool, default=False
        Whether to hold out `validation_fraction` of the samples, stop when the weighted accuracy on
        them has not improved by `tol` for `n_iter_no_change` epochs, and keep the best state.
    validation_fraction : float, default=0.1
        Share of the samples that is held out, in (0, 1). Only with `early_stopping`, as the next.
    n_iter_no_change : int, default=10
        How many epochs may go by without a better score.
    tol : float, default=1e-4
        By how much a score must be better to count as such.
    warm_start : bool, default=False
        Whether `fit` goes on from the present model, for `max_epochs` more epochs and a schedule
        of their own. What its network is made of must then stay the same.
    device : str, default="auto"
        Where to compute: a device of torch, or "auto": "cuda" where there is one, else "cpu". The
        fitted model itself is always on the CPU.
    dtype : {"float32", "float64"}, default="float32"
        Type in which the model is trained.
    checkpoint : path-like, default=None
        File from which `fit` goes on if it was killed, and to which it writes every 100 or more
        iterations, or every minute if they take longer. Needs `random_state` to be an int. Each
        fit of a search or a cross-validation, and each that goes on by `warm_start`, needs a file
        of its own.
    random_state : int, RandomState instance or None, default=None
        Determines all that is random; None: numpy's global generator. That of torch is seeded where
        a module draws from it (initial weights, dropout, augmentation) and is put back as it was.
    verbose : int, default=0
        Whether to show a progress bar.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    module_ : torch.nn.Module
        The network: ``module_.features`` and ``module_.classifier``.
    history_ : list of dicts
        One entry per epoch: iteration, learning rate, mean loss, validation score.
    loss_curve_ : list of float
        Loss of each iteration, without the penalty.
    n_iter_ : int
        Number of iterations (mini-batches) taken.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)

    See Also
    --------
    DeTraMeClassifier : The same networks with learned metrics.

    Notes
    -----
    Samples may be float, integer or boolean. A model fitted on uint8 takes samples for images and
    divides them by 255, in whatever dtype later samples come. A `numpy.memmap` is read batch by
    batch. Samples in float64 are answered in float64. On a GPU the samples are kept there as they
    are, if they take less than half of its free memory.

    References
    ----------
    Paper 1, section IV (full-CNN). Paper 2, section 4 (the networks called "Original").

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.model_selection import train_test_split
    >>> from skddl import ConvNetClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    >>> clf = ConvNetClassifier(
    ...     architecture="plain-3", image_shape=(1, 8, 8), width=0.2, max_epochs=20, random_state=0
    ... )
    >>> clf.fit(X_train, y_train).score(X_test, y_test) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **NetworkClassifier._parameter_constraints,
        "architecture": [StrOptions({*ARCHITECTURES, "lenet"}), callable],
    }

    def _build_image_network(
        self, image_shape: tuple[int, ...], options: dict[str, Any]
    ) -> ConvNet | PlainNet | ResNet | LeNet:
        if self.architecture == "lenet":
            channels, height, width = image_shape
            # The paper's initial weights are for pixels from 0 to 255, which bytes are not here.
            raw = not self.standardize and self._divisor == 1
            init_std = 0.01 if raw else None
            shape = (channels, height, width)
            return LeNet(shape, n_classes=options["n_classes"], init_std=init_std)
        return super()._build_image_network(image_shape, options)
