"""What `recsys forget` did, and what it could not reach."""

from recsys.report.plain import aligned


def forgotten_text(rows: dict[str, int], runs: list[str], raw: tuple[str, ...]) -> str:
    """Rows removed by place; then the runs whose models may remember, and the raw files that may name users (empty: none)."""
    removed = [[place, f"{count:,}"] for place, count in rows.items()]
    parts = [aligned(("place", "rows removed"), removed) if removed else "No row of this user was found: nothing had to be removed."]
    parts.append("The next reading of the raw files leaves this user out.")
    if runs:
        parts.append(
            "Their rows are gone, yet weights and trees that learned from them may still remember: "
            + ", ".join(runs)
            + ". Train again (`recsys train`), then remove these runs, their folders as well as their versions in MLflow."
        )
    own = ", ".join(filter(None, raw))
    parts.append(f"Not touched: your own files ({own}), what a tracking server elsewhere holds, backups, and nights published with --out.")
    return "\n\n".join(parts)
