"""Learning rates: of the towers by phase, and over the steps of a phase."""

TOWER_RATE = {"warm": 1.0, "joint": 0.3, "blend": 1.0, "refresh": 0.3}
"""Of `text.tower_learning_rate`: in the joint phase the tower has settled, and follows the encoder; in a refresh it has little to learn."""


def warm_up_and_decay(step: int, n_steps: int) -> float:
    """The factor of the rate in step `step`, from 0: rises over a tenth of the steps, then falls in a line to a tenth of its peak."""
    rise = max(n_steps // 10, 1)
    return min((step + 1) / rise, max(0.1, 1 - (step - rise) / max(n_steps - rise, 1)))
