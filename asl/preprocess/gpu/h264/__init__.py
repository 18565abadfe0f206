"""Prove H.264 streams by parsing every slice to its last bit, on the GPU or with a host compiler's build.

===================  ==========================================================================
``bitstream``        the slices of an MP4, with the parameter sets that they refer to
``parameter_sets``   sequence and picture parameter sets
``layout``           records that Python and the parser share; reasons for refusing a slice
``source``           the parser's C++ source, for NVRTC or a host compiler
``tables.json``      the tables of ITU-T H.264, clause 9
``*.h``, ``*.cu``    the parser: bits, CABAC, CAVLC, macroblocks, slices
``references``       which pictures are marked for reference, and whether headers name others
``verdict``          what the results of a clip's slices say about the clip
``prover``           many clips at once on the GPU
===================  ==========================================================================

No picture is decoded, so damage that is valid syntax is not seen; all other damage is: a decoder that
conceals errors sees less. Clause numbers in the sources are those of ITU-T H.264 (08/2021).
"""
