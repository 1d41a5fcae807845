"""The papers behind the named recipes."""

from __future__ import annotations

from decoct.cards import MethodCard

DM = MethodCard(
    name="dm",
    line="match class means of real and synthetic images in random embeddings",
    axes="pixels x distribution x hard",
    paper="Zhao, Bilen: Dataset Condensation with Distribution Matching, 2023",
    link="https://arxiv.org/abs/2110.04181",
    bibtex="""@inproceedings{zhao2023distribution,
  title = {Dataset Condensation with Distribution Matching},
  author = {Zhao, Bo and Bilen, Hakan},
  booktitle = {IEEE/CVF Winter Conference on Applications of Computer Vision (WACV)},
  year = {2023},
  url = {https://arxiv.org/abs/2110.04181}
}""",
)

RIDGE = MethodCard(
    name="ridge",
    line="make kernel ridge regression on a pool of networks predict the real labels, labels learned",
    axes="pixels x ridge x learned",
    paper="Zhou, Nezhadarya, Ba: Dataset Distillation using Neural Feature Regression, 2022; "
    "Nguyen, Chen, Lee: Dataset Meta-Learning from Kernel Ridge-Regression, 2021",
    link="https://arxiv.org/abs/2206.00719",
    bibtex="""@inproceedings{zhou2022frepo,
  title = {Dataset Distillation using Neural Feature Regression},
  author = {Zhou, Yongchao and Nezhadarya, Ehsan and Ba, Jimmy},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2022},
  url = {https://arxiv.org/abs/2206.00719}
}
@inproceedings{nguyen2021kip,
  title = {Dataset Meta-Learning from Kernel Ridge-Regression},
  author = {Nguyen, Timothy and Chen, Zhourong and Lee, Jaehoon},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year = {2021},
  url = {https://arxiv.org/abs/2011.00050}
}""",
)
