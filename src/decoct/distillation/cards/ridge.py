"""The papers behind the recipes of kernel ridge regression."""

from __future__ import annotations

from decoct.cards import MethodCard
from decoct.distillation.cards.gradient import IDC

RIDGE = MethodCard(
    name="ridge",
    line="make kernel ridge regression on a pool of networks predict the real labels, labels learned",
    axes="pixels x ridge x learned (random-features for one image a class on a CPU)",
    paper="Zhou, Nezhadarya, Ba: Dataset Distillation using Neural Feature Regression, 2022; "
    "Loo, Hasani, Amini, Rus: Efficient Dataset Distillation using Random Feature Approximation, 2022; "
    "Nguyen, Chen, Lee: Dataset Meta-Learning from Kernel Ridge-Regression, 2021",
    link="https://arxiv.org/abs/2206.00719",
    bibtex="""@inproceedings{zhou2022frepo,
  title = {Dataset Distillation using Neural Feature Regression},
  author = {Zhou, Yongchao and Nezhadarya, Ehsan and Ba, Jimmy},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2022},
  url = {https://arxiv.org/abs/2206.00719}
}
@inproceedings{loo2022rfad,
  title = {Efficient Dataset Distillation using Random Feature Approximation},
  author = {Loo, Noel and Hasani, Ramin and Amini, Alexander and Rus, Daniela},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2022},
  url = {https://arxiv.org/abs/2210.12067}
}
@inproceedings{nguyen2021kip,
  title = {Dataset Meta-Learning from Kernel Ridge-Regression},
  author = {Nguyen, Timothy and Chen, Zhourong and Lee, Jaehoon},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year = {2021},
  url = {https://arxiv.org/abs/2011.00050}
}""",
)

KIP = MethodCard(
    name="kip",
    line="make regression with the tangent kernel of a wide fully connected network predict the real labels",
    axes="pixels x tangent x hard or learned",
    paper="Nguyen, Chen, Lee: Dataset Meta-Learning from Kernel Ridge-Regression, 2021; "
    "Nguyen, Novak, Xiao, Lee: Dataset Distillation with Infinitely Wide Convolutional Networks, 2021",
    link="https://arxiv.org/abs/2011.00050",
    bibtex="""@inproceedings{nguyen2021kip,
  title = {Dataset Meta-Learning from Kernel Ridge-Regression},
  author = {Nguyen, Timothy and Chen, Zhourong and Lee, Jaehoon},
  booktitle = {International Conference on Learning Representations (ICLR)},
  year = {2021},
  url = {https://arxiv.org/abs/2011.00050}
}
@inproceedings{nguyen2021infinitely,
  title = {Dataset Distillation with Infinitely Wide Convolutional Networks},
  author = {Nguyen, Timothy and Novak, Roman and Xiao, Lechao and Lee, Jaehoon},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2021},
  url = {https://arxiv.org/abs/2107.13034}
}""",
)

FREPO = MethodCard(
    name="frepo",
    line="the ridge regression on a pool of networks as published: label margin, mirror images, no augmentation",
    axes="pixels x ridge x learned",
    paper="Zhou, Nezhadarya, Ba: Dataset Distillation using Neural Feature Regression, 2022",
    link="https://arxiv.org/abs/2206.00719",
    bibtex="""@inproceedings{zhou2022frepo,
  title = {Dataset Distillation using Neural Feature Regression},
  author = {Zhou, Yongchao and Nezhadarya, Ehsan and Ba, Jimmy},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2022},
  url = {https://arxiv.org/abs/2206.00719}
}""",
)

RFAD = MethodCard(
    name="rfad",
    line="ridge regression on the features of random networks, cross-entropy of scaled predictions",
    axes="pixels x random-features x learned",
    paper="Loo, Hasani, Amini, Rus: Efficient Dataset Distillation using Random Feature Approximation, 2022",
    link="https://arxiv.org/abs/2210.12067",
    bibtex="""@inproceedings{loo2022rfad,
  title = {Efficient Dataset Distillation using Random Feature Approximation},
  author = {Loo, Noel and Hasani, Ramin and Amini, Alexander and Rus, Daniela},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2022},
  url = {https://arxiv.org/abs/2210.12067}
}""",
)

RCIG = MethodCard(
    name="rcig",
    line="ridge regression on networks that adapt to the set, with the implicit gradient of their adaptation",
    axes="pixels x implicit x learned",
    paper="Loo, Hasani, Lechner, Rus: Dataset Distillation with Convexified Implicit Gradients, 2023",
    link="https://arxiv.org/abs/2302.06755",
    bibtex="""@inproceedings{loo2023rcig,
  title = {Dataset Distillation with Convexified Implicit Gradients},
  author = {Loo, Noel and Hasani, Ramin and Lechner, Mathias and Rus, Daniela},
  booktitle = {International Conference on Machine Learning (ICML)},
  year = {2023},
  url = {https://arxiv.org/abs/2302.06755}
}""",
)

RIDGE_GRID = MethodCard(
    name="ridge-grid",
    line="kernel ridge regression on random networks, four small images with learned labels in the place of one",
    axes="multiformation x random-features x learned",
    paper=f"{RFAD.paper}; {IDC.paper}",
    link=RFAD.link,
    bibtex=f"{RFAD.bibtex}\n{IDC.bibtex}",
)
