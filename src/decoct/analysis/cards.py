"""The papers behind the analyses."""

from __future__ import annotations

from decoct.cards import MethodCard

LEARNING_PAPER = "Yang, Zhu, Deng, Russakovsky: What is Dataset Distillation Learning?, 2024"
LEARNING_LINK = "https://arxiv.org/abs/2406.04284"
LEARNING_BIBTEX = """@inproceedings{yang2024learning,
  title = {What is Dataset Distillation Learning?},
  author = {Yang, William and Zhu, Ye and Deng, Zhiwei and Russakovsky, Olga},
  booktitle = {International Conference on Machine Learning (ICML)},
  year = {2024},
  url = {https://arxiv.org/abs/2406.04284}
}"""
LABEL_PAPER = "Qin, Deng, Alvarez-Melis: A Label is Worth a Thousand Images in Dataset Distillation, 2024"
LABEL_LINK = "https://arxiv.org/abs/2406.10485"
LABEL_BIBTEX = """@inproceedings{qin2024label,
  title = {A Label is Worth a Thousand Images in Dataset Distillation},
  author = {Qin, Tian and Deng, Zhiwei and Alvarez-Melis, David},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2024},
  url = {https://arxiv.org/abs/2406.10485}
}"""


def _learning(name: str, line: str, axes: str) -> MethodCard:
    return MethodCard(name, line, axes, LEARNING_PAPER, LEARNING_LINK, LEARNING_BIBTEX)


def _label(name: str, line: str, axes: str) -> MethodCard:
    return MethodCard(name, line, axes, LABEL_PAPER, LABEL_LINK, LABEL_BIBTEX)


CARDS = (
    _learning("agreement", "which stage or share of real training predicts what the set teaches", "set and source"),
    _learning("curvature", "how the loss of the set curves while a network trains on real data", "set and source"),
    _learning("influence", "what leaving out each row of the set changes, by training again", "set and source"),
    _learning("mixing", "add real rows to the set and watch whether they help or harm", "set and source"),
    _learning("substitutability", "real networks judge the set, networks of the set judge real data", "set and source"),
    _label("removed", "a class without images, learned from the labels of the others", "source and teacher labels"),
    _label("scaling", "accuracy by images, label entries kept and the teacher's pass", "source and teacher labels"),
)
"""One card for each analysis; `axes` says what it needs."""
