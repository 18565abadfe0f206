"""Source and segment to proven clip: plan, cut, prove, log; on the host alone."""
