"""The paper behind the recipe that condenses a validation set."""

from __future__ import annotations

from decoct.cards import MethodCard

HCDC = MethodCard(
    name="hcdc",
    line="condense a validation set that orders hyper-parameters as the whole one does, by matching hypergradients",
    axes="pixels x hypergradient x hard",
    paper="Ding, Xu, Rabbani, Liu, Gravelle, Ranadive, Tuan, Huang: Calibrated Dataset Condensation for Faster "
    "Hyperparameter Search, 2024",
    link="https://arxiv.org/abs/2405.17535",
    bibtex="""@article{ding2024calibrated,
  title = {Calibrated Dataset Condensation for Faster Hyperparameter Search},
  author = {Ding, Mucong and Xu, Yuancheng and Rabbani, Tahseen and Liu, Xiaoyu and Gravelle, Brian and
            Ranadive, Teresa and Tuan, Tai-Ching and Huang, Furong},
  journal = {arXiv preprint arXiv:2405.17535},
  year = {2024},
  url = {https://arxiv.org/abs/2405.17535}
}""",
)
