"""Every system by its name: whose it is, its sizes and their source, what is ours, how it is made.

A size marked *recalled* is told of the authors' network by others and was not checked in their own text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.errors import TrainingError
from models.network import PaperSpec
from models.training.epochs import EpochOptions
from models.training.systems import autoencoders, classical, networks
from models.training.systems.base import Entry, Figures, System

#: Of the CNN-LSTM where nothing else is asked for; chosen on validation parts.
PAPER_SIZES: Mapping[str, Any] = {
    "levels": 32,
    "embedding": 16,
    "filters": 64,
    "pooling": 4,
    "lstm": 32,
    "dropout": 0.1,
}
PAPER_OPTIONS = EpochOptions(
    epochs=15,
    patience=15,
    batch_size=64,
    learning_rate=3e-3,
    schedule="cosine",
    class_weights="none",
    averaging=0.99,
)
#: The paper's network and way of fitting without what is ours.
PLAIN_OPTIONS = EpochOptions(epochs=40, patience=6)

_PAPER = "the paper's Table 1 names it; it gives no sizes"
_TENSORFLOW, _SKLEARN = "tensorflow", "sklearn"


def _cnn_lstm(names: Sequence[str]) -> System:
    return cnn_lstm(_spec(len(names), **PAPER_SIZES), PAPER_OPTIONS)


def _plain(names: Sequence[str]) -> System:
    return cnn_lstm(_spec(len(names)), PLAIN_OPTIONS)


def _spec(features: int, pooling: int = 2, **sizes: Any) -> PaperSpec:
    """Of a table with very few features no more are pooled than there are."""
    return PaperSpec(features, pooling=max(1, min(pooling, features)), **sizes)


def cnn_lstm(spec: PaperSpec, options: EpochOptions) -> networks.Network:
    """The paper's network with sizes of one's choice; `spec.features` must be that of the data."""
    from models.network import paper_network

    return networks.Network(lambda features: paper_network(spec), options)


_BASE = (
    Entry(
        "cnn-lstm",
        "CNN-LSTM",
        "the paper",
        "the features of a flow as the sequence, each in 32 levels and those made 16 numbers:"
        " convolution 64 filters of 3, max pooling 4, LSTM 32, dropout 0.1, dense 64, sigmoid; 15 epochs in"
        " batches of 64",
        "the paper gives the order of the layers, Adam, early stopping and a grid search",
        "the sizes; before the convolution the levels of each feature, and weights of its own for them; a"
        " rate that falls along a cosine over 15 epochs, no class weights, weights averaged over steps; the"
        " epoch of the lowest validation loss",
        Figures(0.9952, 0.9870, 0.9924, 0.9897),
        _cnn_lstm,
        _TENSORFLOW,
    ),
    Entry(
        "svm",
        "SVM",
        "the paper's baseline",
        f"RBF kernel, C 10, gamma 1 / (D variance), at most {classical.SVM_ROWS:,} training rows",
        _PAPER,
        "kernel, C and the limit on rows",
        Figures(0.9767, 0.9645, 0.9589, 0.9567),
        lambda names: classical.Classifier(classical.svm, threshold=0.0, rows=classical.SVM_ROWS),
        _SKLEARN,
    ),
    Entry(
        "random-forest",
        "Random forest",
        "the paper's baseline",
        "100 trees, grown out, square root of D features a cut",
        _PAPER,
        "the sizes, which are scikit-learn's",
        Figures(0.9785, 0.9775, 0.9793, 0.9784),
        lambda names: classical.Classifier(classical.forest),
        _SKLEARN,
    ),
    Entry(
        "autoencoder",
        "Deep autoencoder",
        "the paper's baseline",
        "encoder D-64-32-16 and its mirror, fitted without labels; then a sigmoid on the code, the encoder"
        " fitted on with it",
        _PAPER,
        "the sizes, and that it decides by a classifier on the code, not by the error of reconstruction",
        Figures(0.9896, 0.9892, 0.9899, 0.9895),
        lambda names: autoencoders.AutoencoderClassifier(),
        _TENSORFLOW,
    ),
    Entry(
        "1-nn",
        "1-NN",
        "ours",
        "the nearest training flow, Euclidean distance of the scaled features",
        "none",
        "all: it says how much of a split is known by heart",
        None,
        lambda names: classical.Classifier(classical.nearest),
        _SKLEARN,
    ),
)

_MORE = (
    Entry(
        "cnn-lstm-plain",
        "CNN-LSTM, nothing added",
        "the paper",
        "the features of a flow as the sequence: convolution 64 filters of 3, max pooling 2, LSTM 64, dropout"
        " 0.3, dense 64, sigmoid; class weights, early stopping",
        "the paper gives the order of the layers, Adam, early stopping and a grid search",
        "the sizes",
        Figures(0.9952, 0.9870, 0.9924, 0.9897),
        _plain,
        _TENSORFLOW,
    ),
    Entry(
        "yin-rnn",
        "Simple RNN (Yin 2017)",
        "Yin, Zhu, Fei, He: A Deep Learning Approach for Intrusion Detection Using Recurrent Neural"
        " Networks, 2017",
        "one simple recurrent layer of 80, sigmoid; a flow is one step",
        "80 hidden nodes were their best, learning rate 0.1 (told by others of the paper)",
        "Adam at 0.001 in the place of their gradient descent at 0.1, early stopping",
        None,
        lambda names: networks.Network(networks.simple_rnn),
        _TENSORFLOW,
    ),
    Entry(
        "kim-lstm",
        "LSTM (Kim 2016)",
        "Kim, Kim, Thu, Kim: LSTM RNN Classifier for Intrusion Detection, 2016",
        "one LSTM layer of 80, sigmoid; a flow is one step",
        "80, recalled",
        "Adam and early stopping",
        None,
        lambda names: networks.Network(networks.lstm),
        _TENSORFLOW,
    ),
    Entry(
        "kim-hybrid",
        "Decision tree and one-class SVMs (Kim 2014)",
        "Kim, Lee, Kim: A novel hybrid intrusion detection method integrating anomaly detection with misuse"
        " detection, 2014",
        "an entropy tree, and in each leaf that calls benign a one-class SVM of its benign training flows",
        "the abstract: C4.5, normal training data cut up by the tree, a one-class SVM on each piece",
        "CART by entropy for C4.5; nu 0.001, gamma 1, leaves of fewer than 50 benign flows without an SVM",
        None,
        lambda names: classical.TreeAndOneClass(),
        _SKLEARN,
    ),
    Entry(
        "shone-forest",
        "Stacked autoencoders and forest (Shone 2018)",
        "Shone, Ngoc, Phai, Shi: A Deep Learning Approach to Network Intrusion Detection, 2018",
        "two non-symmetric autoencoders of 14-28-28, sigmoid, one upon the other; random forest of"
        " 100 on the code",
        "two stacked, non-symmetric, a forest behind: their abstract; 14-28-28, recalled",
        "the forest's size; early stopping",
        None,
        lambda names: autoencoders.StackedForest(),
        _TENSORFLOW,
    ),
    Entry(
        "tang-dnn",
        "DNN on six features (Tang 2016)",
        "Tang, Mhamdi, McLernon, Zaidi, Ghogho: Deep Learning Approach for Network Intrusion Detection in"
        " Software Defined Networking, 2016",
        "dense 12-6-3, sigmoid, on six features",
        "12-6-3 on six features of NSL-KDD, recalled",
        f"which six: {', '.join(networks.TANG_FEATURES)}, and where one is missing the next that counts"
        " the same",
        None,
        lambda names: networks.Network(networks.dense_network, chosen=networks.six_of(names)),
        _TENSORFLOW,
    ),
    Entry(
        "deep-cnn-lstm",
        "CNN-LSTM of two convolutions",
        "after hybrids before the paper",
        "convolution 32 and 64 filters of 3, pooling 2 behind each, LSTM 70, dropout 0.1, sigmoid",
        "none that could be checked",
        "all sizes",
        None,
        lambda names: networks.Network(networks.deep_cnn_lstm),
        _TENSORFLOW,
    ),
    Entry(
        "logistic",
        "Logistic regression",
        "ours",
        "standardised features, C 1",
        "none",
        "all: what a line can do",
        None,
        lambda names: classical.Classifier(classical.logistic),
        _SKLEARN,
    ),
    Entry(
        "boosting",
        "Gradient boosting",
        "ours",
        "histogram boosting, 100 rounds of 31 leaves, rate 0.1",
        "none",
        "all; the sizes are scikit-learn's",
        None,
        lambda names: classical.Classifier(classical.boosting),
        _SKLEARN,
    ),
)

SYSTEMS: dict[str, Entry] = {entry.name: entry for entry in (*_BASE, *_MORE)}
BASE: tuple[str, ...] = tuple(entry.name for entry in _BASE)
#: What the CNN-LSTM has to hold its own against: the paper's own baselines.
BASELINES: tuple[str, ...] = tuple(e.name for e in _BASE if e.paper is not None and e.name != "cnn-lstm")


def chosen(names: Sequence[str]) -> list[Entry]:
    """The systems of these names, each once; TrainingError names one that there is not."""
    for name in names:
        if name not in SYSTEMS:
            raise TrainingError(f"no system {name}: there are {', '.join(SYSTEMS)}")
    return [SYSTEMS[name] for name in dict.fromkeys(names)]
