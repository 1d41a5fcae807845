"""The papers behind biased sets and the weights against a bias."""

from __future__ import annotations

from decoct.cards import MethodCard

EXPLORING_PAPER = "Lu, Gu, Chen, Vahidian, Xuan: Exploring the Impact of Dataset Bias on Dataset Distillation, 2024"
EXPLORING_LINK = "https://arxiv.org/abs/2403.16028"
EXPLORING_BIBTEX = """@inproceedings{lu2024exploring,
  title = {Exploring the Impact of Dataset Bias on Dataset Distillation},
  author = {Lu, Yao and Gu, Jianyang and Chen, Xuguang and Vahidian, Saeed and Xuan, Qi},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR) Workshops},
  pages = {7656--7663},
  year = {2024},
  url = {https://arxiv.org/abs/2403.16028}
}"""


def _exploring(name: str, line: str, axes: str) -> MethodCard:
    return MethodCard(name, line, axes, EXPLORING_PAPER, EXPLORING_LINK, EXPLORING_BIBTEX)


CARDS = (
    _exploring("coloured", "a biased set in which each class has its colour", "decoct bias make --kind coloured"),
    _exploring("corrupted", "a biased set in which each class has its damage", "decoct bias make --kind corrupted"),
    MethodCard(
        name="density",
        line="rare rows of a class in an early network's features count more",
        axes="decoct bias weigh --by density",
        paper="Cui, Wang, Xiong, Hsieh: Mitigating Bias in Dataset Distillation, 2024",
        link="https://arxiv.org/abs/2406.06609",
        bibtex="""@inproceedings{cui2024mitigating,
  title = {Mitigating Bias in Dataset Distillation},
  author = {Cui, Justin and Wang, Ruochen and Xiong, Yuanhao and Hsieh, Cho-Jui},
  booktitle = {International Conference on Machine Learning (ICML)},
  year = {2024},
  url = {https://arxiv.org/abs/2406.06609}
}""",
    ),
    MethodCard(
        name="errors",
        line="rows that a network of easy cues gets wrong count more",
        axes="decoct bias weigh --by errors",
        paper="Nam, Cha, Ahn, Lee, Shin: Learning from Failure: Training Debiased Classifier from Biased Classifier, "
        "2020; Liu, Haghgoo, Chen, Raghunathan, Koh, Sagawa, Liang, Finn: Just Train Twice: Improving Group "
        "Robustness without Training Group Information, 2021",
        link="https://arxiv.org/abs/2007.02561",
        bibtex="""@inproceedings{nam2020learning,
  title = {Learning from Failure: Training Debiased Classifier from Biased Classifier},
  author = {Nam, Junhyun and Cha, Hyuntak and Ahn, Sungsoo and Lee, Jaeho and Shin, Jinwoo},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2020},
  url = {https://arxiv.org/abs/2007.02561}
}
@inproceedings{liu2021just,
  title = {Just Train Twice: Improving Group Robustness without Training Group Information},
  author = {Liu, Evan Zheran and Haghgoo, Behzad and Chen, Annie S. and Raghunathan, Aditi and Koh, Pang Wei and
            Sagawa, Shiori and Liang, Percy and Finn, Chelsea},
  booktitle = {International Conference on Machine Learning (ICML)},
  year = {2021},
  url = {https://arxiv.org/abs/2107.09044}
}""",
    ),
)
"""One card for each kind of bias and each way to weigh against it; `axes` is the call."""
