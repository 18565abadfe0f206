"""Source and segment to proven clip: plan, cut, prove, log; on the host alone."""

# asl.config builds its schema from this package's TrimSettings, which need asl.config.setting: whichever of
# the two is imported first, the schema's module must begin to load before clips.backend does.
import asl.config  # noqa: F401
