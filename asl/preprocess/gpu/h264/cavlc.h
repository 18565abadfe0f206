// CAVLC (9.2): residual blocks.

// One level (9.2.2.1). Returns its magnitude, 0 for a level that is out of range.
FN uint32_t read_level(Bits* bits, uint32_t suffix_length, int is_above_one)
{
    uint32_t prefix = leading_zeros(peek_32(bits));
    if (prefix > 25) {  // 2^(25 - 3) is far beyond any level
        return 0;
    }
    bits->position += prefix + 1;
    uint32_t size = prefix == 14 && suffix_length == 0 ? 4 : prefix >= 15 ? prefix - 3 : suffix_length;
    uint32_t code = (prefix < 15 ? prefix : 15) << suffix_length;
    if (size) {
        code += read_bits(bits, size);
    }
    if (prefix >= 15 && suffix_length == 0) {
        code += 15;
    }
    if (prefix >= 16) {
        code += (1u << (prefix - 3)) - 4096;
    }
    code += 2 * (uint32_t)is_above_one;
    uint32_t magnitude = code / 2 + 1;  // even codes are positive, odd ones negative
    return magnitude > 1u << 15 ? 0 : magnitude;
}

// residual_block_cavlc() (7.3.5.3.2). `nc` is nC, -1 for chroma DC.
// Returns TotalCoeff(coeff_token), or minus a reason.
CALLED int residual_cavlc(Bits* in_memory, int nc, int max_coefficients)
{
    Bits bits = *in_memory;
    int token;
    if (nc >= 8) {  // 6 bits: TotalCoeff - 1 and TrailingOnes; 0000 11 is no coefficient
        uint32_t code = read_bits(&bits, 6);
        token = code == 3 ? 0 : (int)(((code >> 2) + 1) << 2 | (code & 3));
        if ((token & 3) > token >> 2) {
            return -BAD_COEFF_TOKEN;
        }
    } else {
        token = read_vlc(&bits, COEFF_TOKEN[nc < 0 ? 3 : nc < 2 ? 0 : nc < 4 ? 1 : 2]);
        if (token < 0) {
            return -BAD_COEFF_TOKEN;
        }
    }
    int total = token >> 2, ones = token & 3;
    if (total > max_coefficients) {
        return -TOO_MANY_COEFFICIENTS;
    }
    if (total == 0) {
        *in_memory = bits;
        return 0;
    }
    bits.position += (uint32_t)ones;  // their signs
    uint32_t suffix_length = total > 10 && ones < 3;
    for (int i = ones; i < total; i++) {
        uint32_t magnitude = read_level(&bits, suffix_length, i == ones && ones < 3);
        if (magnitude == 0) {
            return -BAD_LEVEL;
        }
        if (suffix_length == 0) {
            suffix_length = 1;
        }
        if (magnitude > 3u << (suffix_length - 1) && suffix_length < 6) {
            suffix_length++;
        }
    }
    if (total < max_coefficients) {
        int is_chroma_dc = max_coefficients == 4;
        int zeros_left = read_vlc(&bits, is_chroma_dc ? TOTAL_ZEROS_CHROMA_DC[total - 1] : TOTAL_ZEROS[total - 1]);
        if (zeros_left < 0 || zeros_left > max_coefficients - total) {
            return -BAD_TOTAL_ZEROS;
        }
        for (int i = total; i > 1 && zeros_left > 0; i--) {
            int run = read_vlc(&bits, RUN_BEFORE[zeros_left < 7 ? zeros_left - 1 : 6]);
            if (run < 0 || run > zeros_left) {
                return -BAD_RUN_BEFORE;
            }
            zeros_left -= run;
        }
    }
    *in_memory = bits;
    return total;
}
