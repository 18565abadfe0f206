"""Jobs on this machine or on SLURM: shares of preprocessing, and runs of a sweep."""
