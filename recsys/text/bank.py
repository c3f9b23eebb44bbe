"""The catalogue's pooled vectors, and the gradient that waits to be pushed through the encoder (gradient caching, Gao et al. 2021).

A user-side step is a matrix product over vectors at hand; a pass through the encoder costs a thousand times more. So the
gradient of many user-side steps with respect to the vectors is collected here, and each item takes its turn to be pushed
through the encoder once, with all that was collected since its last turn.

With the tower held, one push of every item equals direct backpropagation of the summed losses. It is an approximation in two
ways: the tower moves between two pushes, and an item's vector is that of its last turn. Both are bounded: an item waits at
most `turns` pushes of `text.push_steps` user-side steps each. The encoder runs without dropout, so there is no mask to hold.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recsys.blocks import Floats
from recsys.text.encoder import Encoder, Progress
from recsys.text.inputs import Inputs
from recsys.text.workers import workers


class GradientBank:
    """vectors (n_items, hidden) and gradient (n_items, hidden), float32, on the CPU; `rows` are the items that have a text."""

    def __init__(self, encoder: Encoder, inputs: Inputs, pooled: Floats, rows: NDArray[np.int64], push_items: int, seed: int) -> None:
        self.encoder, self.inputs, self.rows, self.seed = encoder, inputs, rows, seed
        self.push_items = min(push_items, len(rows))
        self.vectors = torch.from_numpy(pooled.copy())
        self.gradient = torch.zeros_like(self.vectors)

    @property
    def turns(self) -> int:
        """Pushes until every item had its turn."""
        return -(-len(self.rows) // max(self.push_items, 1))

    def turn(self, number: int) -> NDArray[np.int64]:
        """The items of push `number`, from 0: a pure function of seed and number, each item once in `turns` pushes."""
        cycle, place = divmod(number, self.turns)
        order = np.random.default_rng([self.seed, cycle, 2]).permutation(self.rows)
        return np.sort(order[place * self.push_items : (place + 1) * self.push_items])

    def renew_all(self, progress: Progress) -> None:
        """Encode every item with the encoder as it is now; several workers encode a part each."""
        mine = workers().share(np.argsort(-self.inputs.lengths, kind="stable"))
        vectors = torch.zeros_like(self.vectors)
        vectors[torch.from_numpy(mine)] = torch.from_numpy(self.encoder.encode(self.inputs, progress, mine))
        self.vectors = workers().total(vectors)

    def collect(self, rows: Tensor, gradient: Tensor) -> None:
        """Add the gradient (len(rows), hidden) of a user-side step."""
        self.gradient.index_add_(0, rows, gradient)

    def push(self, rows: NDArray[np.int64]) -> None:
        """Backpropagate what was collected for these items (ascending) into the encoder's parameters; it waits no longer."""
        places = torch.from_numpy(rows)
        self.vectors[places] = self.encoder.push(self.inputs, rows, self.gradient[places])
        self.gradient[places] = 0
