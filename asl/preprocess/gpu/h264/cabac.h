// CABAC (9.3): the arithmetic decoding engine, and residual blocks.

// codIOffset and the bits after it: codIOffset stands in bits 22 to 30, `ahead` more bits below are valid.
struct Engine {
    const uint32_t* words;
    uint32_t num_words;
    uint32_t next_half;  // index of the next 16 bits to be loaded
    uint32_t range;      // codIRange
    uint32_t offset;
    int32_t ahead;  // 7 to 22 between two bins: no bin shifts by more than 7
};

struct Contexts {
    uint8_t state[NUM_CONTEXTS];  // 2 * pStateIdx + valMPS
};

INLINED uint32_t half_at(const Engine* engine, uint32_t index)
{
    uint32_t word = word_at(engine->words, engine->num_words, index >> 1);
    return index & 1 ? word & 0xFFFF : word >> 16;
}

INLINED void refill(Engine* engine)
{
    if (engine->ahead <= 6) {
        engine->offset |= half_at(engine, engine->next_half) << (6 - engine->ahead);
        engine->next_half += 1;
        engine->ahead += 16;
    }
}

// 9.3.1.2. `position` is a whole number of bytes, given in bits.
FN void start_engine(Engine* engine, uint32_t position)
{
    engine->next_half = position >> 4;
    engine->range = 510;
    uint32_t half = half_at(engine, engine->next_half++);
    if (position & 8) {
        engine->offset = (half & 0xFF) << 23;
        engine->ahead = 8 - 9;
    } else {
        engine->offset = half << 15;
        engine->ahead = 16 - 9;
    }
    refill(engine);
}

// Position in bits behind what the engine of 9.3.1.2 has read.
FN uint32_t engine_position(const Engine* engine)
{
    return engine->next_half * 16 - (uint32_t)engine->ahead;
}

// DecodeDecision (9.3.3.2.1)
INLINED uint32_t decode_bin(Engine* engine, Contexts* contexts, uint32_t context)
{
    uint32_t state = contexts->state[context];
    uint32_t lps = LPS_RANGES[state >> 1] >> (8 * (engine->range >> 6 & 3)) & 0xFF;
    uint32_t range = engine->range - lps, scaled = range << 22, bin = state & 1;
    if (engine->offset < scaled) {
        contexts->state[context] = (uint8_t)(state < 124 ? state + 2 : state);
        uint32_t shift = range < 256;
        engine->range = range << shift;
        engine->offset <<= shift;
        engine->ahead -= (int32_t)shift;
    } else {
        contexts->state[context] = AFTER_LPS[state];
        uint32_t shift = leading_zeros(lps) - 23;
        engine->range = lps << shift;
        engine->offset = (engine->offset - scaled) << shift;
        engine->ahead -= (int32_t)shift;
        bin ^= 1;
    }
    refill(engine);
    return bin;
}

// DecodeBypass (9.3.3.2.3)
INLINED uint32_t decode_bypass(Engine* engine)
{
    uint32_t scaled = engine->range << 22, bin;
    engine->offset <<= 1;
    engine->ahead -= 1;
    bin = engine->offset >= scaled;
    if (bin) {
        engine->offset -= scaled;
    }
    refill(engine);
    return bin;
}

// DecodeTerminate (9.3.3.2.2.3). After a 1 the engine is not used again before start_engine.
CALLED uint32_t decode_terminate(Engine* engine)
{
    engine->range -= 2;
    if (engine->offset >= engine->range << 22) {
        return 1;
    }
    uint32_t shift = engine->range < 256;
    engine->range <<= shift;
    engine->offset <<= shift;
    engine->ahead -= (int32_t)shift;
    refill(engine);
    return 0;
}

// 9.3.1.1. `table` is 0 for I slices, else 1 + cabac_init_idc.
FN void start_contexts(Contexts* contexts, int table, int qp)
{
    for (int i = 0; i < NUM_CONTEXTS; i++) {
        int m = CONTEXT_INIT[table][i][0], n = CONTEXT_INIT[table][i][1];
        int before = (m * qp >> 4) + n;
        before = before < 1 ? 1 : before > 126 ? 126 : before;
        contexts->state[i] = (uint8_t)(before <= 63 ? 2 * (63 - before) : 2 * (before - 64) + 1);
    }
}

// UEGk suffix (9.3.2.3): Exp-Golomb code of order `order`. Returns -1 above 2^17.
CALLED int32_t decode_exp_golomb(Engine* engine, uint32_t order)
{
    int32_t value = 0;
    while (decode_bypass(engine)) {
        value += 1 << order;
        if (++order > 16) {
            return -1;
        }
    }
    while (order--) {
        value += (int32_t)(decode_bypass(engine) << order);
    }
    return value;
}

// residual_block_cabac() (7.3.5.3.3) behind coded_block_flag; categories of Table 9-42.
// Returns the number of coefficients that are not zero, or minus a reason.
CALLED int residual_cabac(Engine* in_memory, Contexts* contexts, int category)
{
    Engine engine = *in_memory;  // in registers
    int max_coefficients = MAX_COEFFICIENTS[category], count = 0, i = 0, greater = 0, equal = 0;
    uint32_t significant = SIGNIFICANT_CONTEXT[category], last = LAST_CONTEXT[category];
    uint32_t level = LEVEL_CONTEXT[category];
    int is_8x8 = category == 5, is_chroma_dc = category == 3;
    for (; i < max_coefficients - 1; i++) {
        // With three coefficients before the last one, Min(numDecodAbsLevel / NumC8x8, 2) is their index.
        if (decode_bin(&engine, contexts, significant + (is_8x8 ? SIGNIFICANT_8X8[i] : i))) {
            count++;
            if (decode_bin(&engine, contexts, last + (is_8x8 ? LAST_8X8[i] : i))) {
                break;
            }
        }
    }
    if (i == max_coefficients - 1) {
        count++;
    }
    for (int left = count; left; left--) {
        if (decode_bin(&engine, contexts, level + (greater ? 0 : equal < 3 ? 1 + equal : 4))) {
            int most = 4 - is_chroma_dc, ones = 1;
            uint32_t context = level + 5 + (greater < most ? greater : most);
            while (ones < 14 && decode_bin(&engine, contexts, context)) {
                ones++;
            }
            if (ones == 14) {
                Engine copy = engine;  // the address of `engine` itself would keep it out of registers
                int32_t suffix = decode_exp_golomb(&copy, 0);
                engine = copy;
                if (suffix < 0 || suffix + 15 > 1 << 15) {
                    return -BAD_LEVEL;
                }
            }
            greater++;
        } else {
            equal++;
        }
        decode_bypass(&engine);  // sign
    }
    *in_memory = engine;
    return count;
}
