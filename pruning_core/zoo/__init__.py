"""Networks, data and trained checkpoints by name."""

from pruning_core.zoo.by_name import datasets_for, load_data, load_model
from pruning_core.zoo.checkpoints import MODELS, Card, available, card, count_macs
from pruning_core.zoo.data import DATASETS
from pruning_core.zoo.fetch import Progress
from pruning_core.zoo.models import ARCHITECTURES
from pruning_core.zoo.pretrained import PRETRAINED
from pruning_core.zoo.recipes import RECIPES, recipe, reinitialise, train
from pruning_core.zoo.request import data_root, results_root
from pruning_core.zoo.splits import probe

__all__ = [
    "ARCHITECTURES",
    "DATASETS",
    "MODELS",
    "PRETRAINED",
    "RECIPES",
    "Card",
    "Progress",
    "available",
    "card",
    "count_macs",
    "data_root",
    "datasets_for",
    "load_data",
    "load_model",
    "probe",
    "recipe",
    "reinitialise",
    "results_root",
    "train",
]
