"""The papers behind the recipes that keep real pixels."""

from __future__ import annotations

from decoct.cards import MethodCard

SOFT_RANDOM = MethodCard(
    name="soft-random",
    line="random real images, labelled by an expert of the pass that teaches a student best",
    axes="pixels x none x teacher",
    paper="Qin, Deng, Alvarez-Melis: A Label is Worth a Thousand Images in Dataset Distillation, 2024",
    link="https://arxiv.org/abs/2406.10485",
    bibtex="""@inproceedings{qin2024label,
  title = {A Label is Worth a Thousand Images in Dataset Distillation},
  author = {Qin, Tian and Deng, Zhiwei and Alvarez-Melis, David},
  booktitle = {Advances in Neural Information Processing Systems (NeurIPS)},
  year = {2024},
  url = {https://arxiv.org/abs/2406.10485}
}""",
)
RDED = MethodCard(
    name="rded",
    line="crops of real images that an expert is surest of, in grids, with its labels",
    axes="patches x none x teacher",
    paper="Sun, Shi, Yu, Lin: On the Diversity and Realism of Distilled Dataset, 2024",
    link="https://arxiv.org/abs/2312.03526",
    bibtex="""@inproceedings{sun2024diversity,
  title = {On the Diversity and Realism of Distilled Dataset: An Efficient Dataset Distillation Paradigm},
  author = {Sun, Peng and Shi, Bei and Yu, Daiwei and Lin, Tao},
  booktitle = {IEEE/CVF Conference on Computer Vision and Pattern Recognition (CVPR)},
  year = {2024},
  url = {https://arxiv.org/abs/2312.03526}
}""",
)
