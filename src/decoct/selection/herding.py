"""Herding: rows whose running mean follows the mean of all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from decoct.cards import MethodCard
from decoct.selection.selector import Picks, Selector, checked

CARD = MethodCard(
    name="herding",
    line="one row after the other, each pulling the mean of the picks towards the mean of all rows",
    axes="real rows · mean of the features · hard labels",
    paper="Welling, Herding Dynamical Weights to Learn, 2009; Chen, Welling, Smola, Super-Samples from Kernel "
    "Herding, 2010; in this form Rebuffi et al., iCaRL, 2017",
    link="https://arxiv.org/abs/1203.3472",
    bibtex="""@inproceedings{welling2009herding,
  author    = {Welling, Max},
  title     = {Herding Dynamical Weights to Learn},
  booktitle = {Proceedings of the 26th International Conference on Machine Learning},
  pages     = {1121--1128},
  year      = {2009},
  doi       = {10.1145/1553374.1553517}
}
@inproceedings{chen2010super,
  author    = {Chen, Yutian and Welling, Max and Smola, Alex},
  title     = {Super-Samples from Kernel Herding},
  booktitle = {Proceedings of the 26th Conference on Uncertainty in Artificial Intelligence},
  pages     = {109--116},
  year      = {2010},
  eprint    = {1203.3472},
  archiveprefix = {arXiv}
}
@inproceedings{rebuffi2017icarl,
  author    = {Rebuffi, Sylvestre-Alvise and Kolesnikov, Alexander and Sperl, Georg and Lampert, Christoph H.},
  title     = {{iCaRL}: Incremental Classifier and Representation Learning},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition},
  year      = {2017},
  eprint    = {1611.07725},
  archiveprefix = {arXiv}
}""",
)


@dataclass(frozen=True)
class Herding(Selector):
    """Greedy matching of the mean of the features, each row at most once.

    x_{t+1} = argmin over x not yet picked of || (t + 1) mu - sum_{s<=t} phi(x_s) - phi(x) ||, mu = mean of all phi.

    Paper: Welling, "Herding Dynamical Weights to Learn" (2009), https://doi.org/10.1145/1553374.1553517; the
    Euclidean form is that of iCaRL (2017), https://arxiv.org/abs/1611.07725, code https://github.com/srebuffi/iCaRL.
    Shapes: features phi `[n, d]`, in any unit.
    Weights are 1, since the plain mean of the picks is what was matched. The score of pick t is the distance between
    mu and the mean of picks 1..t, in units of the features: what is left of the error with that prefix.
    Cost: O(n k d) time, O(n d) memory. Ties go to the lowest row.
    Differs from kernel herding by ||phi(x)||^2, which is the same where all norms are equal, and by never picking a
    row twice. Some libraries take the argmax of this distance, which walks away from the mean; this is the argmin.
    """

    because = "brings the mean of the picks nearest to the mean of all, {value:.4g} away from it"

    def pick(self, features: Float[Tensor, "n d"], count: int, generator: torch.Generator) -> Picks:
        features = checked(features, count)
        return self._towards(features.double().mean(0), features, count)

    def pick_weighted(
        self, features: Float[Tensor, "n d"], weights: Float[Tensor, " n"], count: int, generator: torch.Generator
    ) -> Picks:
        """The same with `mu = sum w_i phi_i / sum w_i`."""
        features = checked(features, count)
        shares = (weights.double() / weights.double().sum()).to(features.device)
        return self._towards(shares @ features.double(), features, count)

    def _towards(self, mean: Float[Tensor, " d"], features: Float[Tensor, "n d"], count: int) -> Picks:
        centred = features - mean.to(features.dtype)
        # With centred features the target is the origin: ||-(total + c)||^2 = c.c + 2 c.total + constant in c.
        distance = centred.square().sum(1)
        total = torch.zeros_like(centred[0])
        rows, scores = [], []
        for step in range(1, count + 1):
            row = int(distance.argmin())
            total += centred[row]
            distance += 2 * (centred @ centred[row])
            distance[row] = torch.inf
            rows.append(row)
            scores.append(float(total.norm()) / step)
        return Picks(torch.tensor(rows), torch.ones(count), torch.tensor(scores))
