"""A small training job with a contrastive loss over the complete batch; `main` runs it in processes of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from regard.training.config import TrainConfig
from regard.training.distributed import world
from regard.training.log import Log
from regard.training.loop import fit
from regard.training.metric import Metric
from regard.training.validation import Part


class Encoder(nn.Module):
    """Features of both views of an example, and the temperature of the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 5)
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self, pairs: Tensor) -> Tensor:
        """``(n, 2, 6)`` → ``(n, 2, 5)``."""
        return F.normalize(self.layer(pairs).tanh(), dim=-1)


class Contrastive:
    """Each example's first view is matched with its second one among those of all examples of the batch."""

    metrics = (Metric("loss"),)
    validation_count = 9

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model: Any = Encoder()
        self.pairs = torch.randn(29, 2, 6)

    def batches(self, epoch: int) -> list[list[int]]:
        order = torch.randperm(29, generator=torch.Generator().manual_seed(epoch)).tolist()
        return [order[at : at + 7] for at in range(0, 29, 7)]  # 7, 7, 7, 7, 1

    def features(self, model: nn.Module, rows: list[int]) -> Tensor:
        features: Tensor = model(self.pairs[rows])
        return features

    def batch_loss(self, features: Tensor, rows: list[int]) -> tuple[Tensor, int]:
        first, second = features.unbind(1)
        logits = self.model.scale.exp() * first @ second.T
        return F.cross_entropy(logits, torch.arange(len(rows)), reduction="sum"), len(rows)

    def evaluate(self, part: Part) -> dict[str, float]:
        features = part.gather([self.model(self.pairs[[row]])[0] for row in part.rows])
        loss, count = self.batch_loss(torch.stack(features), list(part.every))
        return {"loss": float(loss) / count}


def main() -> None:
    """``python contrastive_job.py FOLDER ACCUMULATE``."""
    folder, accumulate = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    config = TrainConfig(epochs=3, accumulate=accumulate, warmup=0, learning_rate=0.01)
    with world() as process:
        fit(Contrastive(), config, folder, process, log=Log(folder, shown=process.first))


if __name__ == "__main__":
    main()
