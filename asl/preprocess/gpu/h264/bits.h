// Bits of a slice's RBSP (7.2): fixed length, Exp-Golomb (9.1) and table-driven codes.
// All reads past the end give zeros; the position then exceeds the end, which the callers check.

struct Bits {
    const uint32_t* words;  // big-endian
    uint32_t num_words;
    uint32_t position;  // in bits
};

INLINED uint32_t word_at(const uint32_t* words, uint32_t num_words, uint32_t index)
{
    if (index >= num_words) {
        return 0;
    }
    uint32_t word = words[index];
#if ON_GPU
    return __byte_perm(word, 0, 0x0123);
#else
    return __builtin_bswap32(word);
#endif
}

INLINED uint32_t leading_zeros(uint32_t value)  // 32 for 0
{
#if ON_GPU
    return __clz((int)value);
#else
    return value ? (uint32_t)__builtin_clz(value) : 32;
#endif
}

INLINED uint32_t peek_32(const Bits* bits)
{
    uint32_t index = bits->position >> 5, shift = bits->position & 31;
    uint32_t high = word_at(bits->words, bits->num_words, index);
    if (shift == 0) {
        return high;
    }
    return high << shift | word_at(bits->words, bits->num_words, index + 1) >> (32 - shift);
}

// u(n), 1 <= n <= 32
FN uint32_t read_bits(Bits* bits, uint32_t count)
{
    uint32_t value = peek_32(bits) >> (32 - count);
    bits->position += count;
    return value;
}

#define TOO_LONG 0xFFFFFFFFu

// ue(v). TOO_LONG for a code of more than 63 bits; no syntax element allows that value.
FN uint32_t read_ue(Bits* bits)
{
    uint32_t next = peek_32(bits), zeros = leading_zeros(next);
    if (zeros <= 15) {
        bits->position += 2 * zeros + 1;
        return (next >> (31 - 2 * zeros)) - 1;
    }
    bits->position += zeros;
    if (zeros >= 32) {
        return TOO_LONG;
    }
    return read_bits(bits, zeros + 1) - 1;
}

// se(v) (9.1.1): 0, 1, -1, 2, -2, ...
FN int32_t signed_of(uint32_t code)
{
    uint32_t half = (code >> 1) + (code & 1);
    return code & 1 ? (int32_t)half : -(int32_t)half;
}

// A variable-length code: rows by leading zeros, columns by the three bits after the first 1.
// Returns the value; -1 for bits that are no code.
FN int read_vlc(Bits* bits, const uint16_t* table)
{
    uint32_t next = peek_32(bits), zeros = leading_zeros(next);
    if (zeros > 15) {
        zeros = 15;
    }
    uint32_t entry = table[zeros * 8 + (next << (zeros + 1) >> 29)];
    bits->position += entry & 31;
    return entry ? (int)(entry >> 5) : -1;
}
