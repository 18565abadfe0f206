// Macroblocks (7.3.5): syntax elements, and what they need to know of their neighbours.
//
// Arrays of blocks have a border: what lies left of and above the macroblock stands at x = -1 and y = -1.

// Kinds of macroblocks
#define AVAILABLE 1  // in this slice, and decoded before
#define INTRA 2
#define SKIPPED 4
#define PCM 8
#define INTRA_16X16 16
#define DIRECT 32  // B_Skip or B_Direct_16x16
#define TRANSFORM_8X8 64
#define INTRA_NXN 128

#define NO_BLOCK 0x40  // coefficients of a block that is not available
#define NO_MODE (-1)   // of a block that makes dcPredModePredictedFlag 1 (8.3.1.1)
#define DC_MODE 2

#define AT(x, y) (((y) + 1) * 8 + (x) + 1)         // 4x4 blocks
#define REF_AT(x, y) (((y) + 1) * 4 + (x) + 1)     // 8x8 blocks

struct Neighbour {
    uint8_t kind;
    uint8_t cbp;          // coded_block_pattern
    uint8_t dc;           // DC blocks with coefficients: 1 luma of Intra_16x16, 2 Cb, 4 Cr
    uint8_t chroma_mode;  // intra_chroma_pred_mode
};

// What the macroblock below needs of one.
struct Above {
    Neighbour mb;
    uint8_t luma[4], chroma[2][2];  // coefficients of the blocks of the bottom row
    int8_t modes[4];
    uint8_t refs[2][2];
    uint16_t mvds[2][4];
};

struct State {
    Contexts contexts;
    Engine engine;
    Bits bits;
    const Params* params;
    Above* row;  // one for each column of macroblocks
    Neighbour left, above, current;
    uint8_t above_left;  // its kind
    int32_t first_mb, mb, mb_x;
    int32_t slice_kind;  // 0 P, 1 B, 2 I
    int32_t num_refs[2];
    int32_t last_delta_qp;  // of the macroblock before in decoding order
    uint8_t luma[40];       // coefficients of 4x4 blocks
    uint8_t chroma[2][24];
    int8_t modes[40];       // Intra4x4PredMode, Intra8x8PredMode of each 4x4 block
    uint8_t refs[2][12];    // refIdxZeroFlag's opposite: 1 where ref_idx is above 0
    uint16_t mvds[2][40];   // |mvd_x| | |mvd_y| << 8, each at most 127
};

FN int cavlc(const State* s) { return !s->params->cabac; }
FN int is_intra_available(const State* s, uint32_t kind)
{
    return (kind & AVAILABLE) && ((kind & INTRA) || !s->params->constrained_intra_pred);
}
CALLED uint32_t bin(State* s, uint32_t context) { return decode_bin(&s->engine, &s->contexts, context); }

// ---------------------------------------------------------------- borders

CALLED void load_above(State* s)
{
    int width = s->params->mb_width;
    int there = s->mb - width >= s->first_mb;
    const Above* from = &s->row[s->mb_x];
    if (s->mb_x == 0 || s->mb == s->first_mb) {
        s->above_left = 0;
        s->left.kind = s->left.cbp = s->left.dc = s->left.chroma_mode = 0;
        for (int i = 0; i < 4; i++) {
            s->luma[AT(-1, i)] = NO_BLOCK;
            s->modes[AT(-1, i)] = NO_MODE;
            s->mvds[0][AT(-1, i)] = s->mvds[1][AT(-1, i)] = 0;
        }
        for (int i = 0; i < 2; i++) {
            s->chroma[0][AT(-1, i)] = s->chroma[1][AT(-1, i)] = NO_BLOCK;
            s->refs[0][REF_AT(-1, i)] = s->refs[1][REF_AT(-1, i)] = 0;
        }
    }
    if (there) {
        s->above = from->mb;
    } else {
        s->above.kind = s->above.cbp = s->above.dc = s->above.chroma_mode = 0;
    }
    for (int i = 0; i < 4; i++) {
        s->luma[AT(i, -1)] = there ? from->luma[i] : NO_BLOCK;
        s->modes[AT(i, -1)] = there ? from->modes[i] : (int8_t)NO_MODE;
        s->mvds[0][AT(i, -1)] = there ? from->mvds[0][i] : 0;
        s->mvds[1][AT(i, -1)] = there ? from->mvds[1][i] : 0;
    }
    for (int i = 0; i < 2; i++) {
        s->chroma[0][AT(i, -1)] = there ? from->chroma[0][i] : NO_BLOCK;
        s->chroma[1][AT(i, -1)] = there ? from->chroma[1][i] : NO_BLOCK;
        s->refs[0][REF_AT(i, -1)] = there ? from->refs[0][i] : 0;
        s->refs[1][REF_AT(i, -1)] = there ? from->refs[1][i] : 0;
    }
}

// A macroblock without coefficients, motion or modes, before its syntax elements are read.
CALLED void clear_current(State* s)
{
    s->current.kind = AVAILABLE;
    s->current.cbp = s->current.dc = s->current.chroma_mode = 0;
    for (int y = 0; y < 4; y++) {
        for (int x = 0; x < 4; x++) {
            s->luma[AT(x, y)] = 0;
            s->modes[AT(x, y)] = DC_MODE;
            s->mvds[0][AT(x, y)] = s->mvds[1][AT(x, y)] = 0;
        }
    }
    for (int y = 0; y < 2; y++) {
        for (int x = 0; x < 2; x++) {
            s->chroma[0][AT(x, y)] = s->chroma[1][AT(x, y)] = 0;
            s->refs[0][REF_AT(x, y)] = s->refs[1][REF_AT(x, y)] = 0;
        }
    }
}

// Hand the finished macroblock to the ones right of and below it.
CALLED void store_current(State* s)
{
    Above* to = &s->row[s->mb_x];
    int has_no_mode = !is_intra_available(s, s->current.kind);
    to->mb = s->left = s->current;
    s->above_left = s->above.kind;
    for (int i = 0; i < 4; i++) {
        int8_t below = has_no_mode ? (int8_t)NO_MODE : s->modes[AT(i, 3)];
        int8_t right = has_no_mode ? (int8_t)NO_MODE : s->modes[AT(3, i)];
        to->modes[i] = below;
        s->modes[AT(-1, i)] = right;
        to->luma[i] = s->luma[AT(i, 3)];
        s->luma[AT(-1, i)] = s->luma[AT(3, i)];
        for (int list = 0; list < 2; list++) {
            to->mvds[list][i] = s->mvds[list][AT(i, 3)];
            s->mvds[list][AT(-1, i)] = s->mvds[list][AT(3, i)];
        }
    }
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 2; j++) {  // Cb and Cr, lists 0 and 1
            to->chroma[j][i] = s->chroma[j][AT(i, 1)];
            s->chroma[j][AT(-1, i)] = s->chroma[j][AT(1, i)];
            to->refs[j][i] = s->refs[j][REF_AT(i, 1)];
            s->refs[j][REF_AT(-1, i)] = s->refs[j][REF_AT(1, i)];
        }
    }
}

// ---------------------------------------------------------------- mb_type and sub_mb_type

// mb_type of an I macroblock behind its first bin (Table 9-36), 1 to 25. `base` is the context of b0 or the
// prefix, `wide` is 1 in I slices, which give some bins contexts of their own (9.3.3.1.2).
FN int intra_16x16_type(State* s, uint32_t base, uint32_t wide)
{
    if (decode_terminate(&s->engine)) {
        return 25;
    }
    int type = 1 + 12 * (int)bin(s, base + 1);
    if (bin(s, base + 2)) {
        type += 4 + 4 * (int)bin(s, base + 2 + wide);
    }
    type += 2 * (int)bin(s, base + 3 + wide);
    return type + (int)bin(s, base + 3 + 2 * wide);
}

FN int i_type_cabac(State* s)
{
    uint32_t left = (s->left.kind & AVAILABLE) && !(s->left.kind & INTRA_NXN);
    uint32_t above = (s->above.kind & AVAILABLE) && !(s->above.kind & INTRA_NXN);
    return bin(s, 3 + left + above) ? intra_16x16_type(s, 5, 1) : 0;
}

FN int i_suffix_cabac(State* s, uint32_t context)
{
    return bin(s, context) ? intra_16x16_type(s, context, 0) : 0;
}

// P: 0 to 3, and 5 + the type of an I macroblock
FN int p_type_cabac(State* s)
{
    if (bin(s, 14)) {
        return 5 + i_suffix_cabac(s, 17);
    }
    if (bin(s, 15)) {
        return bin(s, 17) ? 1 : 2;
    }
    return bin(s, 16) ? 3 : 0;
}

// B: 0 to 22, and 23 + the type of an I macroblock (Table 9-37)
FN int b_type_cabac(State* s)
{
    uint32_t left = (s->left.kind & AVAILABLE) && !(s->left.kind & DIRECT);
    uint32_t above = (s->above.kind & AVAILABLE) && !(s->above.kind & DIRECT);
    if (!bin(s, 27 + left + above)) {
        return 0;
    }
    if (!bin(s, 30)) {
        return 1 + (int)bin(s, 32);
    }
    int code = (int)bin(s, 31) << 3;
    code |= (int)bin(s, 32) << 2;
    code |= (int)bin(s, 32) << 1;
    code |= (int)bin(s, 32);
    if (code < 8) {
        return code + 3;
    }
    if (code == 13) {
        return 23 + i_suffix_cabac(s, 32);
    }
    if (code >= 14) {
        return code == 14 ? 11 : 22;
    }
    return (code << 1 | (int)bin(s, 32)) - 4;
}

FN int p_sub_type_cabac(State* s)
{
    if (bin(s, 21)) {
        return 0;
    }
    return !bin(s, 22) ? 1 : bin(s, 23) ? 2 : 3;
}

FN int b_sub_type_cabac(State* s)
{
    if (!bin(s, 36)) {
        return 0;
    }
    if (!bin(s, 37)) {
        return 1 + (int)bin(s, 39);
    }
    int type = 3;
    if (bin(s, 38)) {
        if (bin(s, 39)) {
            return 11 + (int)bin(s, 39);
        }
        type += 4;
    }
    type += 2 * (int)bin(s, 39);
    return type + (int)bin(s, 39);
}

// ---------------------------------------------------------------- intra prediction

// Whether the samples that a mode of Intra_4x4 or Intra_8x8 needs exist (8.3.1.2, 8.3.2.2), for the block
// with its top left 4x4 block at (x, y).
FN int has_samples(const State* s, int mode, int x, int y)
{
    int left = x > 0 || is_intra_available(s, s->left.kind);
    int above = y > 0 || is_intra_available(s, s->above.kind);
    int corner = x > 0 ? above : y > 0 ? left : is_intra_available(s, s->above_left);
    uint32_t bit = 1u << mode;
    return (left || !(bit & 0x172)) && (above || !(bit & 0xF9)) && (corner || !(bit & 0x70));
}

// Modes 0 to 3 of Intra_16x16 (8.3.3) and of chroma (8.3.4)
FN int has_whole_samples(const State* s, int needs_left, int needs_above, int needs_corner)
{
    return (!needs_left || is_intra_available(s, s->left.kind)) &&
           (!needs_above || is_intra_available(s, s->above.kind)) &&
           (!needs_corner || is_intra_available(s, s->above_left));
}

CALLED int intra_modes(State* s, int step)
{
    for (int i = 0; i < 16; i += step * step) {
        int x = BLOCK_X[i], y = BLOCK_Y[i], predicted, mode, remaining;
        int left = s->modes[AT(x - 1, y)], above = s->modes[AT(x, y - 1)];
        predicted = left < 0 || above < 0 ? DC_MODE : left < above ? left : above;
        if (cavlc(s)) {
            remaining = read_bits(&s->bits, 1) ? -1 : (int)read_bits(&s->bits, 3);
        } else if (bin(s, 68)) {
            remaining = -1;
        } else {
            remaining = (int)bin(s, 69);
            remaining |= (int)bin(s, 69) << 1;
            remaining |= (int)bin(s, 69) << 2;
        }
        mode = remaining < 0 ? predicted : remaining + (remaining >= predicted);
        if (!has_samples(s, mode, x, y)) {
            return BAD_INTRA_MODE;
        }
        for (int j = 0; j < step * step; j++) {
            s->modes[AT(x + j % step, y + j / step)] = (int8_t)mode;
        }
    }
    return OK;
}

FN int chroma_mode(State* s)
{
    uint32_t mode;
    if (cavlc(s)) {
        mode = read_ue(&s->bits);
    } else {
        uint32_t inc = (s->left.chroma_mode != 0) + (s->above.chroma_mode != 0);
        mode = !bin(s, 64 + inc) ? 0 : !bin(s, 67) ? 1 : !bin(s, 67) ? 2 : 3;
    }
    if (mode > 3) {
        return BAD_CHROMA_MODE;
    }
    s->current.chroma_mode = (uint8_t)mode;
    return has_whole_samples(s, mode & 1, mode >= 2, mode == 3) ? OK : BAD_CHROMA_MODE;
}

// ---------------------------------------------------------------- inter prediction

FN int read_ref(State* s, int list, int x, int y)
{
    int most = s->num_refs[list] - 1;
    if (cavlc(s)) {
        uint32_t code = most == 1 ? !read_bits(&s->bits, 1) : read_ue(&s->bits);
        return code > (uint32_t)most ? -1 : (int)code;
    }
    uint32_t inc = s->refs[list][REF_AT(x - 1, y)] + 2u * s->refs[list][REF_AT(x, y - 1)];
    int ref = 0;
    while (bin(s, 54 + inc)) {
        if (++ref > most) {
            return -1;
        }
        inc = inc < 4 ? 4 : 5;
    }
    return ref;
}

// One component of mvd_lX: its magnitude, or -1 if it is out of range. `sum` is that of the neighbours' ones.
CALLED int32_t read_mvd(State* s, uint32_t base, uint32_t sum)
{
    if (cavlc(s)) {
        uint32_t code = read_ue(&s->bits);
        return code > 2 * MOST_MVD ? -1 : (int32_t)((code + 1) / 2);
    }
    if (!bin(s, base + (sum < 3 ? 0 : sum > 32 ? 2 : 1))) {
        return 0;
    }
    int32_t magnitude = 1;
    while (magnitude < 9 && bin(s, base + 2 + (magnitude < 4 ? (uint32_t)magnitude : 4))) {
        magnitude++;
    }
    if (magnitude == 9) {
        int32_t suffix = decode_exp_golomb(&s->engine, 3);
        if (suffix < 0 || suffix > MOST_MVD - 9) {
            return -1;
        }
        magnitude += suffix;
    }
    decode_bypass(&s->engine);  // sign
    return magnitude;
}

// mvd_lX of the partition of (width, height) 4x4 blocks at (x, y)
CALLED int motion(State* s, int list, int x, int y, int width, int height)
{
    uint32_t left = s->mvds[list][AT(x - 1, y)], above = s->mvds[list][AT(x, y - 1)];
    int32_t mvd_x = read_mvd(s, 40, (left & 0xFF) + (above & 0xFF));
    int32_t mvd_y = mvd_x < 0 ? -1 : read_mvd(s, 47, (left >> 8) + (above >> 8));
    if (mvd_y < 0) {
        return BAD_MVD;
    }
    uint16_t packed = (uint16_t)((mvd_x < 127 ? mvd_x : 127) | (mvd_y < 127 ? mvd_y : 127) << 8);
    for (int j = 0; j < height; j++) {
        for (int i = 0; i < width; i++) {
            s->mvds[list][AT(x + i, y + j)] = packed;
        }
    }
    return OK;
}

// ref_idx and mvd of one or two partitions. `lists` has two bits for each: 1 list 0, 2 list 1.
CALLED int partitions(State* s, int lists, int width, int height)  // in 8x8 blocks
{
    int second_x = width & 1, second_y = height & 1;  // 0, 0 with one partition
    int count = width * height == 4 ? 1 : 2;
    for (int list = 0; list < 2; list++) {
        for (int part = 0; part < count; part++) {
            int x = part * second_x, y = part * second_y, ref = 0;
            if (!(lists >> (2 * part + list) & 1)) {
                continue;
            }
            if (s->num_refs[list] > 1) {
                ref = read_ref(s, list, x, y);
            }
            if (ref < 0) {
                return BAD_REF;
            }
            for (int i = 0; i < width * height; i++) {
                s->refs[list][REF_AT(x + i % width, y + i / width)] = ref > 0;
            }
        }
    }
    for (int list = 0; list < 2; list++) {
        for (int part = 0; part < count; part++) {
            if (lists >> (2 * part + list) & 1) {
                int failed = motion(s, list, 2 * part * second_x, 2 * part * second_y, 2 * width, 2 * height);
                if (failed) {
                    return failed;
                }
            }
        }
    }
    return OK;
}

// sub_mb_pred() (7.3.5.2). `*may_be_8x8` becomes 0 if a part is too small for an 8x8 transform.
CALLED int sub_macroblocks(State* s, int is_b, int has_refs, int* may_be_8x8)
{
    int lists[4], shapes[4];
    for (int i = 0; i < 4; i++) {
        int type;
        if (cavlc(s)) {
            uint32_t code = read_ue(&s->bits);
            if (code > (is_b ? 12u : 3u)) {
                return BAD_SUB_MB_TYPE;
            }
            type = (int)code;
        } else {
            type = is_b ? b_sub_type_cabac(s) : p_sub_type_cabac(s);
        }
        lists[i] = is_b ? SUB_LISTS[type] : 1;
        shapes[i] = is_b ? SUB_SHAPES[type] : type;
        if (is_b && type == 0 ? !s->params->direct_8x8_inference : shapes[i] != 0) {
            *may_be_8x8 = 0;
        }
    }
    for (int list = 0; list < 2; list++) {
        for (int i = 0; i < 4; i++) {
            if (lists[i] >> list & 1) {
                int ref = has_refs && s->num_refs[list] > 1 ? read_ref(s, list, i & 1, i >> 1) : 0;
                if (ref < 0) {
                    return BAD_REF;
                }
                s->refs[list][REF_AT(i & 1, i >> 1)] = ref > 0;
            }
        }
    }
    for (int list = 0; list < 2; list++) {
        for (int i = 0; i < 4; i++) {
            if (!(lists[i] >> list & 1)) {
                continue;
            }
            int width = shapes[i] >= 2 ? 1 : 2, height = shapes[i] & 1 ? 1 : 2;
            for (int y = 0; y < 2; y += height) {
                for (int x = 0; x < 2; x += width) {
                    int failed = motion(s, list, 2 * (i & 1) + x, 2 * (i >> 1) + y, width, height);
                    if (failed) {
                        return failed;
                    }
                }
            }
        }
    }
    return OK;
}

// ---------------------------------------------------------------- coded_block_pattern, mb_qp_delta

FN uint32_t has_no_luma(const Neighbour* mb, uint32_t bit)
{
    return (mb->kind & AVAILABLE) && !(mb->kind & PCM) && !(mb->cbp >> bit & 1);
}

FN int pattern_cabac(State* s)
{
    uint32_t cbp = 0;
    for (uint32_t i = 0; i < 4; i++) {  // left: 8x8 block 1 of A for 0, 3 of A for 2, else of this macroblock
        uint32_t left = i & 1 ? !(cbp >> (i - 1) & 1) : has_no_luma(&s->left, i + 1);
        uint32_t above = i & 2 ? !(cbp >> (i - 2) & 1) : has_no_luma(&s->above, i + 2);
        cbp |= bin(s, 73 + left + 2 * above) << i;
    }
    uint32_t left = s->left.cbp >> 4, above = s->above.cbp >> 4;  // 0 where not available, 2 of I_PCM
    if (bin(s, 77 + (left != 0) + 2 * (above != 0))) {
        cbp |= (1 + bin(s, 81 + (left == 2) + 2 * (above == 2))) << 4;
    }
    return (int)cbp;
}

FN int delta_qp(State* s)
{
    int32_t delta;
    if (cavlc(s)) {
        delta = signed_of(read_ue(&s->bits));
    } else {
        uint32_t code = 0, context = 60 + (s->last_delta_qp != 0);
        while (bin(s, context)) {
            if (++code > 52) {
                return BAD_DELTA_QP;
            }
            context = code == 1 ? 62 : 63;
        }
        delta = signed_of(code);
    }
    s->last_delta_qp = delta;
    return delta < -26 || delta > 25 ? BAD_DELTA_QP : OK;
}

// ---------------------------------------------------------------- residual

// nC (9.2.1) of the block whose neighbours have so many coefficients
FN int neighbours_nc(uint32_t left, uint32_t above)
{
    if (left == NO_BLOCK) {
        return above == NO_BLOCK ? 0 : (int)above;
    }
    return above == NO_BLOCK ? (int)left : (int)(left + above + 1) >> 1;
}

// condTermFlag of coded_block_flag (9.3.3.1.1.9)
FN uint32_t is_coded(const State* s, uint32_t coefficients)
{
    return coefficients == NO_BLOCK ? (s->current.kind & INTRA) != 0 : coefficients != 0;
}

// A block with neighbours of its own kind in `blocks`. Returns its number of coefficients or minus a reason.
CALLED int block(State* s, const uint8_t* blocks, int at, int category)
{
    uint32_t left = blocks[at - 1], above = blocks[at - 8];
    if (cavlc(s)) {
        return residual_cavlc(&s->bits, neighbours_nc(left, above), MAX_COEFFICIENTS[category]);
    }
    if (!bin(s, 85 + 4 * (uint32_t)category + is_coded(s, left) + 2 * is_coded(s, above))) {
        return 0;
    }
    return residual_cabac(&s->engine, &s->contexts, category);
}

// A DC block, `bit` of Neighbour.dc
CALLED int dc_block(State* s, uint32_t bit, int category)
{
    int coefficients;
    if (cavlc(s)) {
        int nc = category == 3 ? -1 : neighbours_nc(s->luma[AT(-1, 0)], s->luma[AT(0, -1)]);
        coefficients = residual_cavlc(&s->bits, nc, MAX_COEFFICIENTS[category]);
    } else {
        uint32_t is_intra = (s->current.kind & INTRA) != 0;
        uint32_t left = s->left.kind & AVAILABLE ? (s->left.dc & bit) != 0 : is_intra;
        uint32_t above = s->above.kind & AVAILABLE ? (s->above.dc & bit) != 0 : is_intra;
        if (!bin(s, 85 + 4 * (uint32_t)category + left + 2 * above)) {
            return 0;
        }
        coefficients = residual_cabac(&s->engine, &s->contexts, category);
    }
    if (coefficients > 0) {
        s->current.dc |= (uint8_t)bit;
    }
    return coefficients;
}

FN int residual_luma(State* s)
{
    uint32_t kind = s->current.kind;
    int category = kind & INTRA_16X16 ? 1 : 2;
    for (int i = 0; i < 16; i++) {
        int at = AT(BLOCK_X[i], BLOCK_Y[i]), coefficients;
        if (!(s->current.cbp >> (i >> 2) & 1)) {
            continue;
        }
        if ((kind & TRANSFORM_8X8) && !cavlc(s)) {  // coded_block_flag is inferred to be 1
            coefficients = residual_cabac(&s->engine, &s->contexts, 5);
            if (coefficients < 0) {
                return -coefficients;
            }
            s->luma[at] = s->luma[at + 1] = s->luma[at + 8] = s->luma[at + 9] = 1;
            i += 3;
            continue;
        }
        coefficients = block(s, s->luma, at, category);
        if (coefficients < 0) {
            return -coefficients;
        }
        s->luma[at] = (uint8_t)coefficients;
    }
    return OK;
}

FN int residual_chroma(State* s)
{
    uint32_t pattern = s->current.cbp >> 4;
    for (uint32_t plane = 0; plane < 2 && pattern; plane++) {
        int coefficients = dc_block(s, 2u << plane, 3);
        if (coefficients < 0) {
            return -coefficients;
        }
    }
    for (int i = 0; i < 8 && pattern == 2; i++) {
        int at = AT(i & 1, i >> 1 & 1);
        int coefficients = block(s, s->chroma[i >> 2], at, 4);
        if (coefficients < 0) {
            return -coefficients;
        }
        s->chroma[i >> 2][at] = (uint8_t)coefficients;
    }
    return OK;
}

// ---------------------------------------------------------------- macroblock_layer()

FN int pcm(State* s)
{
    uint32_t position = s->bits.position;
    if (!cavlc(s)) {
        position = engine_position(&s->engine);
    } else if (position & 7 && read_bits(&s->bits, 8 - (position & 7))) {
        return BAD_ALIGNMENT;
    }
    position = ((position + 7) & ~7u) + 8 * 384;
    s->bits.position = position;
    if (!cavlc(s)) {
        start_engine(&s->engine, position);
    }
    s->current.kind |= INTRA | PCM;
    s->current.cbp = 0x2F;
    s->current.dc = 7;
    for (int y = 0; y < 4; y++) {
        for (int x = 0; x < 4; x++) {
            s->luma[AT(x, y)] = 16;
        }
    }
    for (int i = 0; i < 8; i++) {
        s->chroma[i >> 2][AT(i & 1, i >> 1 & 1)] = 16;
    }
    s->last_delta_qp = 0;
    return OK;
}

FN int transform_flag(State* s)
{
    if (!cavlc(s)) {
        uint32_t left = (s->left.kind & TRANSFORM_8X8) != 0, above = (s->above.kind & TRANSFORM_8X8) != 0;
        return (int)bin(s, 399 + left + above);
    }
    return (int)read_bits(&s->bits, 1);
}

// Returns OK or a reason.
FN int macroblock(State* s)
{
    int is_b = s->slice_kind == 1, inter_types = s->slice_kind == 0 ? 5 : is_b ? 23 : 0, type, failed = OK;
    int may_be_8x8 = s->params->transform_8x8_mode, has_pattern = 1;
    if (cavlc(s)) {
        uint32_t code = read_ue(&s->bits);
        if (code > 25u + (uint32_t)inter_types) {
            return BAD_MB_TYPE;
        }
        type = (int)code;
    } else {
        type = s->slice_kind == 0 ? p_type_cabac(s) : is_b ? b_type_cabac(s) : i_type_cabac(s);
    }
    if (type >= inter_types) {
        type -= inter_types;
        if (type == 25) {
            return pcm(s);
        }
        s->current.kind |= INTRA;
        if (type == 0) {
            s->current.kind |= INTRA_NXN;
            if (may_be_8x8 && transform_flag(s)) {
                s->current.kind |= TRANSFORM_8X8;
            }
            failed = intra_modes(s, s->current.kind & TRANSFORM_8X8 ? 2 : 1);
            may_be_8x8 = 0;
        } else {
            int mode = (type - 1) & 3;  // vertical, horizontal, DC, plane
            s->current.kind |= INTRA_16X16;
            s->current.cbp = (uint8_t)((type >= 13 ? 15 : 0) | (type - 1) / 4 % 3 << 4);
            if (!has_whole_samples(s, mode & 1, mode == 0 || mode == 3, mode == 3)) {
                return BAD_INTRA_MODE;
            }
            has_pattern = 0;
        }
        failed = failed ? failed : chroma_mode(s);
    } else if (is_b) {
        if (type == 0) {
            s->current.kind |= DIRECT;
            may_be_8x8 = may_be_8x8 && s->params->direct_8x8_inference;
        } else if (type == 22) {
            failed = sub_macroblocks(s, 1, 1, &may_be_8x8);
        } else if (type < 4) {
            failed = partitions(s, type, 2, 2);
        } else {
            failed = partitions(s, B_LISTS[(type - 4) >> 1], type & 1 ? 1 : 2, type & 1 ? 2 : 1);
        }
    } else if (type >= 3) {
        failed = sub_macroblocks(s, 0, type == 3, &may_be_8x8);
    } else {
        failed = partitions(s, 1 | 1 << 2, type == 2 ? 1 : 2, type == 1 ? 1 : 2);
    }
    if (failed) {
        return failed;
    }
    if (has_pattern) {
        int pattern;
        if (cavlc(s)) {
            uint32_t code = read_ue(&s->bits);
            if (code > 47) {
                return BAD_PATTERN;
            }
            pattern = CODED_BLOCK_PATTERN[!(s->current.kind & INTRA)][code];
        } else {
            pattern = pattern_cabac(s);
        }
        s->current.cbp = (uint8_t)pattern;
        if ((pattern & 15) && may_be_8x8 && transform_flag(s)) {
            s->current.kind |= TRANSFORM_8X8;
        }
    }
    if (s->current.cbp == 0 && !(s->current.kind & INTRA_16X16)) {
        s->last_delta_qp = 0;
        return OK;
    }
    failed = delta_qp(s);
    if (!failed && (s->current.kind & INTRA_16X16)) {
        int coefficients = dc_block(s, 1, 0);
        failed = coefficients < 0 ? -coefficients : OK;
    }
    failed = failed ? failed : residual_luma(s);
    return failed ? failed : residual_chroma(s);
}
