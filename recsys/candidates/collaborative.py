"""The collaborative source: implicit's alternating least squares over who liked what (Hu, Koren and Volinsky 2008)."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from recsys.blocks import Bools, Catalogue, Floats, History
from recsys.candidates.sources import NOTHING, Block
from recsys.config import Candidates


@dataclass(frozen=True)
class Collaborative:
    """Item factors fitted as of a moment; a user's factors are solved from their own history, so that nothing per user is kept."""

    factors: Floats
    gram: Floats
    known: Bools
    confidence: float
    regularisation: float
    half_life_days: float

    @classmethod
    def fit(cls, history: History, catalogue: Catalogue, config: Candidates, seed: int, threads: int) -> "Collaborative":
        """factors (n_items, f) float32; items nobody liked are not `known` and never scored."""
        from implicit.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits

        likes = _confidence(history, len(catalogue), config.confidence, config.half_life_days)
        n_factors = max(1, min(config.factors, min(likes.shape) - 1))
        with threadpool_limits(1, "blas"):  # implicit runs its own threads; a threaded BLAS below them fights for the cores
            model = AlternatingLeastSquares(
                factors=n_factors,
                regularization=config.regularisation,
                alpha=1.0,
                iterations=config.iterations,
                num_threads=threads,
                random_state=seed,
                use_gpu=False,
            )
            model.fit(sparse.csr_matrix(likes), show_progress=False)
        factors = np.asarray(model.item_factors, np.float32)
        known = np.asarray(likes.sum(axis=0)).ravel() > 0
        return cls(factors, factors.T @ factors, known, config.confidence, config.regularisation, config.half_life_days)

    def score(self, block: Block) -> Floats:
        """User factors x item factors; -inf for a user without likes and for items nobody liked."""
        likes = _confidence(block.history, len(self.factors), self.confidence, self.half_life_days)
        scores = self._users(likes) @ self.factors.T
        has_likes = np.diff(likes.indptr) > 0
        scores[~has_likes] = NOTHING
        scores[:, ~self.known] = NOTHING
        return scores

    def _users(self, confidence: sparse.csr_array) -> Floats:
        # x_u = (Y'Y + sum of (c - 1) y y' + r I)^-1  sum of c y, over the user's likes; all users of the block at once.
        f = self.factors.shape[1]
        c, y = confidence.data[:, None], self.factors[confidence.indices]
        rows = (np.ones(len(c), np.float32), np.arange(len(c)), confidence.indptr)
        summed = sparse.csr_array(rows, shape=(confidence.shape[0], len(c)))
        left = np.empty((confidence.shape[0], f, f), np.float32)
        for row in range(f):  # one row of every user's matrix at a time: the memory of one block
            left[:, row] = summed @ ((c - 1) * y * y[:, row, None])
        left += self.gram + self.regularisation * np.eye(f, dtype=np.float32)
        return np.linalg.solve(left, (summed @ (c * y))[:, :, None])[:, :, 0].astype(np.float32)


def _confidence(history: History, n_items: int, alpha: float, half_life_days: float) -> sparse.csr_array:
    # c = 1 + alpha log(1 + weighted, decayed likes): the logarithm, so that a wholesaler's hundredth order adds little.
    worth = np.maximum(history.weight, 1e-3) * np.exp2(-history.age_days / half_life_days)
    likes = history.matrix(np.where(history.is_liked, worth, 0).astype(np.float32), n_items)
    likes.eliminate_zeros()
    likes.data = (1 + alpha * np.log1p(likes.data)).astype(np.float32)
    return likes
