"""``report.html``: one file that a person opens to see what came of a run of preprocessing."""
