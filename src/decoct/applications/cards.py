"""The papers behind the applications."""

from __future__ import annotations

from dataclasses import replace

from decoct.cards import MethodCard
from decoct.distillation.cards.gradient import DC
from decoct.distillation.cards.hypergradient import HCDC

CARDS = (
    replace(
        DC,
        name="architectures",
        line="rank networks by what small sets say of them, beside full training",
        axes="any set; random, herding and early stopping beside it",
    ),
    MethodCard(
        name="continual",
        line="learn classes task by task with a memory of so many bytes",
        axes="memories: any set, herding, random, reservoir",
        paper="Prabhu, Torr, Dokania: GDumb: A Simple Approach that Questions Our Progress in Continual Learning, 2020",
        link="https://www.robots.ox.ac.uk/~tvg/publications/2020/gdumb.pdf",
        bibtex="""@inproceedings{prabhu2020gdumb,
  title = {{GDumb}: A Simple Approach that Questions Our Progress in Continual Learning},
  author = {Prabhu, Ameya and Torr, Philip H. S. and Dokania, Puneet K.},
  booktitle = {European Conference on Computer Vision (ECCV)},
  year = {2020}
}""",
    ),
    MethodCard(
        name="federated",
        line="clients send a small set once, beside federated averaging at equal bytes",
        axes="clients: any recipe or selection",
        paper="Zhou, Pu, Ma, Li, Wu: Distilled One-Shot Federated Learning, 2020; "
        "McMahan, Moore, Ramage, Hampson, Aguera y Arcas: Communication-Efficient Learning of Deep Networks from "
        "Decentralized Data, 2017",
        link="https://arxiv.org/abs/2009.07999",
        bibtex="""@article{zhou2020distilled,
  title = {Distilled One-Shot Federated Learning},
  author = {Zhou, Yanlin and Pu, George and Ma, Xiyao and Li, Xiaolin and Wu, Dapeng},
  journal = {arXiv preprint arXiv:2009.07999},
  year = {2020},
  url = {https://arxiv.org/abs/2009.07999}
}
@inproceedings{mcmahan2017communication,
  title = {Communication-Efficient Learning of Deep Networks from Decentralized Data},
  author = {McMahan, H. Brendan and Moore, Eider and Ramage, Daniel and Hampson, Seth and
            {Ag{\\"u}era y Arcas}, Blaise},
  booktitle = {International Conference on Artificial Intelligence and Statistics (AISTATS)},
  year = {2017},
  url = {https://arxiv.org/abs/1602.05629}
}""",
    ),
    replace(
        HCDC,
        name="graph",
        line="order filters of a graph by their loss on a condensed validation graph",
        axes="random nodes, distribution matching, hcdc",
    ),
    replace(
        HCDC,
        name="hyperparameters",
        line="order hyper-parameters by their loss on a condensed validation set",
        axes="any set; recipe hcdc is made for it",
    ),
    MethodCard(
        name="privacy",
        line="tell members from others by what networks of a set say of them",
        axes="any set; the source beside it",
        paper="Carlini, Chien, Nasr, Song, Terzis, Tramer: Membership Inference Attacks From First Principles, 2022; "
        'Carlini, Feldman, Nasr: No Free Lunch in "Privacy for Free", 2022',
        link="https://arxiv.org/abs/2112.03570",
        bibtex="""@inproceedings{carlini2022membership,
  title = {Membership Inference Attacks From First Principles},
  author = {Carlini, Nicholas and Chien, Steve and Nasr, Milad and Song, Shuang and Terzis, Andreas and
            Tram{\\`e}r, Florian},
  booktitle = {IEEE Symposium on Security and Privacy},
  year = {2022},
  url = {https://arxiv.org/abs/2112.03570}
}
@article{carlini2022nofree,
  title = {No Free Lunch in ``Privacy for Free: How does Dataset Condensation Help Privacy''},
  author = {Carlini, Nicholas and Feldman, Vitaly and Nasr, Milad},
  journal = {arXiv preprint arXiv:2209.14987},
  year = {2022},
  url = {https://arxiv.org/abs/2209.14987}
}""",
    ),
)
"""One card for each application; `axes` says what it compares."""
