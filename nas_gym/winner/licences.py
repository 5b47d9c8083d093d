"""What is known of the data sets that have a name: where they come from, and under which licence."""

from dataclasses import dataclass

from nas_gym.data.named import known_name


@dataclass(frozen=True)
class Licence:
    """A data set's origin and licence, with the place that says so."""

    origin: str
    licence: str
    stated_by: str


_TINY = "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; of the 80 million tiny images"
_NONE = "none is stated: the authors ask to cite the report, and the rights of the single images are not known"
_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar.html"
LICENCES: dict[str, Licence] = {
    "digits": Licence(
        "Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits, UCI (its test part, as in scikit-learn)",
        "CC BY 4.0",
        "https://archive.ics.uci.edu/dataset/80",
    ),
    "MNIST": Licence(
        "LeCun, Cortes and Burges; derived from NIST's databases",
        "CC BY-SA 3.0, copyright Yann LeCun and Corinna Cortes",
        "https://keras.io/api/datasets/mnist",
    ),
    "FashionMNIST": Licence(
        "Xiao, Rasul and Vollgraf 2017, arXiv 1708.07747",
        "MIT, copyright Zalando SE",
        "https://github.com/zalandoresearch/fashion-mnist",
    ),
    "CIFAR10": Licence(_TINY, _NONE, _CIFAR),
    "CIFAR100": Licence(_TINY, _NONE, _CIFAR),
}


def licence_in_words(dataset: str, given: str | None = None) -> str:
    """Return what is known of a data set's licence as one sentence.

    Args:
        dataset: Its name.
        given: What the user says; it has the last word.
    """
    if given:
        return f"{given} (as stated by whoever exported the model)."
    known = LICENCES.get(known_name(dataset) or "")
    if known is None:
        return (
            "Not known: these are data of your own. State it with `nas-gym export --data-licence`, and ask whether it "
            "lets you pass on a model that was trained on them."
        )
    return f"{known.licence} (as stated at {known.stated_by}). Origin: {known.origin}."
