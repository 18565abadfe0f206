// Slices (7.3.3, 7.3.4): header and data up to the last bit; and the kernel, one warp for each slice.

struct Header {
    int32_t slice_kind, qp;
    uint32_t frame_num, idr_pic_id, pic_order_cnt_lsb, cabac_init_idc;
    int32_t num_refs[2];
    int32_t resets;  // memory_management_control_operation 5
};

#define MAX_OPERATIONS 32  // the last words of Result
static_assert(sizeof(Result) == 4 * (13 + MAX_OPERATIONS), "layout.py");

// Note an operation on reference pictures; layout.py says how.
FN void add_operation(Result* result, uint32_t kind, uint32_t long_term, uint32_t value)
{
    uint32_t* operations = (uint32_t*)result + sizeof(Result) / 4 - MAX_OPERATIONS;
    if (result->num_operations < MAX_OPERATIONS) {
        operations[result->num_operations] = kind << 24 | long_term << 16 | value;
    }
    result->num_operations++;
}

FN int in_range(int32_t value, int32_t least, int32_t most) { return value >= least && value <= most; }

// ref_pic_list_modification() (7.3.3.1)
FN int list_modification(Bits* bits, const Params* p, int lists, const int32_t* num_refs, Result* result)
{
    for (int list = 0; list < lists; list++) {
        if (!read_bits(bits, 1)) {
            continue;
        }
        for (int i = 0;; i++) {
            uint32_t operation = read_ue(bits);
            if (operation == 3) {
                break;
            }
            if (operation > 2 || i >= num_refs[list]) {
                return BAD_LIST_MODIFICATION;
            }
            uint32_t picture = read_ue(bits);
            if (picture >= (operation == 2 ? 32u : 1u << p->log2_max_frame_num)) {
                return BAD_LIST_MODIFICATION;
            }
            add_operation(result, 4 * (uint32_t)list + operation, 0, picture);
        }
    }
    return OK;
}

// pred_weight_table() (7.3.3.2)
FN int weights(Bits* bits, int lists, const int32_t* num_refs)
{
    if (read_ue(bits) > 7 || read_ue(bits) > 7) {
        return BAD_WEIGHTS;
    }
    for (int list = 0; list < lists; list++) {
        for (int i = 0; i < num_refs[list]; i++) {
            int numbers = 0;
            for (int plane = 0; plane < 2; plane++) {  // luma, chroma
                numbers = read_bits(bits, 1) ? plane ? 4 : 2 : 0;
                while (numbers--) {
                    if (!in_range(signed_of(read_ue(bits)), -128, 127)) {
                        return BAD_WEIGHTS;
                    }
                }
            }
        }
    }
    return OK;
}

// dec_ref_pic_marking() (7.3.3.3)
FN int marking(Bits* bits, const Params* p, int is_idr, Header* header, Result* result)
{
    if (is_idr) {
        read_bits(bits, 1);  // no_output_of_prior_pics_flag
        if (read_bits(bits, 1)) {  // long_term_reference_flag
            add_operation(result, 8 + 6, 0, 0);
        }
        return OK;
    }
    result->adaptive_marking = read_bits(bits, 1);
    if (!result->adaptive_marking) {
        return OK;
    }
    for (int i = 0;; i++) {
        uint32_t operation = read_ue(bits), value = 0, long_term = 0;
        if (operation == 0) {
            return OK;
        }
        if (operation > 6 || i > 66) {  // FFmpeg allows 66 of them
            return BAD_MARKING;
        }
        if (operation == 1 || operation == 3) {
            value = read_ue(bits);
            if (value >= 1u << p->log2_max_frame_num) {
                return BAD_MARKING;
            }
        }
        if (operation == 2 || operation == 3 || operation == 4 || operation == 6) {
            long_term = read_ue(bits);
            if (long_term > (operation == 4 ? 16u : 15u)) {
                return BAD_MARKING;
            }
        }
        add_operation(result, 8 + operation, long_term, value);
        header->resets |= operation == 5;
    }
}

// slice_header(), in frames, with one slice group. Returns OK or a reason.
CALLED int slice_header(Bits* bits, const Slice* slice, const Params* p, Header* header, Result* result)
{
    uint32_t first_mb = read_ue(bits), slice_type = read_ue(bits);
    read_ue(bits);  // pic_parameter_set_id, by which the caller chose `p`
    result->first_mb = first_mb;
    if (first_mb >= (uint32_t)(p->mb_width * p->mb_height)) {
        return BAD_FIRST_MB;
    }
    if (slice_type > 9) {
        return BAD_SLICE_TYPE;
    }
    int kind = (int)(slice_type % 5), is_idr = slice->nal_unit_type == 5;
    result->slice_kind = (uint32_t)kind;
    if (kind > 2) {
        return UNSUPPORTED;  // SP, SI
    }
    if (is_idr && kind != 2) {
        return BAD_SLICE_TYPE;
    }
    header->slice_kind = kind;
    header->frame_num = read_bits(bits, (uint32_t)p->log2_max_frame_num);
    result->frame_num = header->frame_num;
    if (is_idr) {
        uint32_t idr_pic_id = read_ue(bits);
        result->idr_pic_id = idr_pic_id;
        if (idr_pic_id > 65535 || header->frame_num != 0) {
            return BAD_FRAME_NUM;
        }
    }
    if (p->pic_order_cnt_type == 0) {
        result->pic_order_cnt_lsb = read_bits(bits, (uint32_t)p->log2_max_pic_order_cnt_lsb);
        if (p->bottom_field_pic_order) {
            read_ue(bits);
        }
    } else if (p->pic_order_cnt_type == 1 && !p->delta_pic_order_always_zero) {
        result->pic_order_cnt_lsb = read_ue(bits);
        if (p->bottom_field_pic_order) {
            read_ue(bits);
        }
    }
    if (p->redundant_pic_cnt_present && read_ue(bits) != 0) {
        return UNSUPPORTED;  // redundant pictures
    }
    if (kind == 1) {
        read_bits(bits, 1);  // direct_spatial_mv_pred_flag
    }
    header->num_refs[0] = kind == 2 ? 0 : p->num_refs[0];
    header->num_refs[1] = kind == 1 ? p->num_refs[1] : 0;
    int lists = kind == 2 ? 0 : 1 + (kind == 1), failed;
    if (lists && read_bits(bits, 1)) {
        for (int list = 0; list < lists; list++) {
            uint32_t refs = read_ue(bits);
            if (refs > 15) {
                return BAD_NUM_REFS;
            }
            header->num_refs[list] = (int32_t)refs + 1;
        }
    }
    result->num_refs[0] = (uint32_t)header->num_refs[0];
    result->num_refs[1] = (uint32_t)header->num_refs[1];
    failed = list_modification(bits, p, lists, header->num_refs, result);
    if (!failed && ((p->weighted_pred && kind == 0) || (p->weighted_bipred_idc == 1 && kind == 1))) {
        failed = weights(bits, lists, header->num_refs);
    }
    if (!failed && slice->nal_ref_idc) {
        failed = marking(bits, p, is_idr, header, result);
        result->resets = (uint32_t)header->resets;
    }
    if (failed) {
        return failed;
    }
    if (p->cabac && kind != 2) {
        header->cabac_init_idc = read_ue(bits);
        if (header->cabac_init_idc > 2) {
            return BAD_CABAC_INIT;
        }
    }
    int32_t delta = signed_of(read_ue(bits));
    header->qp = p->pic_init_qp + (in_range(delta, -51, 51) ? delta : 100);
    if (!in_range(header->qp, 0, 51)) {
        return BAD_SLICE_QP;
    }
    if (p->deblocking_control_present) {
        uint32_t disable = read_ue(bits);
        if (disable > 2) {
            return BAD_DEBLOCKING;
        }
        if (disable != 1 && (!in_range(signed_of(read_ue(bits)), -6, 6) || !in_range(signed_of(read_ue(bits)), -6, 6))) {
            return BAD_DEBLOCKING;
        }
    }
    return OK;
}

CALLED void go_to(State* s, int32_t mb)
{
    s->mb = mb;
    s->mb_x = mb % s->params->mb_width;
    load_above(s);
    clear_current(s);
}

FN void skip(State* s)
{
    s->current.kind |= SKIPPED | (s->slice_kind == 1 ? DIRECT : 0);
    s->last_delta_qp = 0;
}

// slice_data() with entropy_coding_mode_flag 0; `end` is the position of rbsp_stop_one_bit.
CALLED int slice_data_cavlc(State* s, uint32_t end)
{
    int32_t mb = s->first_mb, total = s->params->mb_width * s->params->mb_height;
    while (s->bits.position < end) {
        if (s->slice_kind != 2) {
            uint32_t run = read_ue(&s->bits);
            if (run > (uint32_t)(total - mb)) {
                return BAD_SKIP_RUN;
            }
            uint32_t behind = (uint32_t)mb + run;
            while ((uint32_t)mb < behind) {
                go_to(s, mb);
                skip(s);
                store_current(s);
                mb++;
            }
            if (run && s->bits.position == end) {  // a macroblock must follow a run of 0
                break;
            }
        }
        if (mb >= total) {
            return TOO_MANY_MACROBLOCKS;
        }
        go_to(s, mb);
        int failed = macroblock(s);
        if (failed) {
            return failed;
        }
        store_current(s);
        mb++;
    }
    s->mb = mb;
    return s->bits.position == end ? OK : BEYOND_END;
}

// cabac_alignment_one_bit up to the next byte
FN int align_cabac(Bits* bits)
{
    while (bits->position & 7) {
        if (!read_bits(bits, 1)) {
            return BAD_ALIGNMENT;
        }
    }
    return OK;
}

// slice_data() with entropy_coding_mode_flag 1, from the first bit of a byte on; `end` is the position of the
// last bit that is 1.
CALLED int slice_data_cabac(State* s, uint32_t end)
{
    int32_t mb = s->first_mb, total = s->params->mb_width * s->params->mb_height;
    start_engine(&s->engine, s->bits.position);
    for (;;) {
        if (mb >= total) {
            return TOO_MANY_MACROBLOCKS;
        }
        go_to(s, mb);
        int is_skipped = 0;
        if (s->slice_kind != 2) {
            uint32_t left = (s->left.kind & AVAILABLE) && !(s->left.kind & SKIPPED);
            uint32_t above = (s->above.kind & AVAILABLE) && !(s->above.kind & SKIPPED);
            is_skipped = (int)bin(s, (s->slice_kind == 0 ? 11 : 24) + left + above);
        }
        if (is_skipped) {
            skip(s);
        } else {
            int failed = macroblock(s);
            if (failed) {
                return failed;
            }
        }
        store_current(s);
        mb++;
        if (engine_position(&s->engine) > end + 1) {
            return BEYOND_END;
        }
        if (decode_terminate(&s->engine)) {
            break;
        }
    }
    s->mb = mb;
    // The last bit that the engine has read is rbsp_stop_one_bit: what an encoder flushes ends with it (9.3.4.5).
    // x264 writes another 1 behind it, so that `end` can lie further in the same byte.
    Bits stop = s->bits;
    stop.position = engine_position(&s->engine) - 1;
    s->bits.position = stop.position;
    if (stop.position >> 3 != end >> 3) {
        return stop.position > end ? BEYOND_END : BEFORE_END;
    }
    return read_bits(&stop, 1) ? OK : BAD_STOP_BIT;
}

// Parse one slice. `row` has room for the macroblocks of one row of the picture.
FN void parse_slice(State* s, const uint32_t* words, const Slice* slice, const Params* all_params, Above* row,
                    Result* result)
{
    const Params* p = &all_params[slice->params];
    Header header;
    header.slice_kind = header.qp = header.resets = header.num_refs[0] = header.num_refs[1] = 0;
    header.frame_num = header.idr_pic_id = header.pic_order_cnt_lsb = header.cabac_init_idc = 0;
    for (uint32_t i = 0; i < sizeof(Result) / 4; i++) {
        ((uint32_t*)result)[i] = 0;
    }
    s->bits.words = s->engine.words = words + slice->first_word;
    s->bits.num_words = s->engine.num_words = slice->num_words;
    s->bits.position = 8;  // behind the NAL unit's header
    s->params = p;
    s->row = row;
    int reason = slice_header(&s->bits, slice, p, &header, result);
    if (!reason && s->bits.position > slice->last_bit) {
        reason = BEYOND_END;
    }
    if (!reason && p->cabac) {
        reason = align_cabac(&s->bits);
    }
    if (reason) {
        result->reason = (uint32_t)reason;
        result->position = s->bits.position;
        return;
    }
    s->slice_kind = header.slice_kind;
    s->num_refs[0] = header.num_refs[0];
    s->num_refs[1] = header.num_refs[1];
    s->first_mb = s->mb = (int32_t)result->first_mb;
    s->mb_x = 0;
    s->last_delta_qp = 0;
    if (p->cabac) {
        start_contexts(&s->contexts, header.slice_kind == 2 ? 0 : 1 + (int)header.cabac_init_idc, header.qp);
        reason = slice_data_cabac(s, slice->last_bit);
        result->position = reason ? engine_position(&s->engine) : s->bits.position;
    } else {
        reason = slice_data_cavlc(s, slice->last_bit);
        result->position = s->bits.position;
    }
    result->end_mb = (uint32_t)s->mb;
    result->reason = (uint32_t)reason;
}

#if ON_GPU

// One block of one warp works on one slice after the other; its first thread alone does it, as a slice is a
// sequential job. `next` is 0 before the launch. `rows` has `row_length` elements for each block.
extern "C" __global__ void parse_slices(const uint32_t* words, const Slice* slices, const Params* params,
                                        Result* results, Above* rows, uint32_t row_length, uint32_t count,
                                        uint32_t* next)
{
    __shared__ State state;
    if (threadIdx.x != 0) {
        return;
    }
    for (;;) {
        uint32_t index = atomicAdd(next, 1u);
        if (index >= count) {
            return;
        }
        parse_slice(&state, words, &slices[index], params, rows + (uint64_t)blockIdx.x * row_length,
                    &results[index]);
    }
}

#else

extern "C" void parse_slices(const uint32_t* words, const Slice* slices, const Params* params, Result* results,
                             Above* rows, uint32_t count)
{
    static thread_local State state;
    for (uint32_t index = 0; index < count; index++) {
        parse_slice(&state, words, &slices[index], params, rows, &results[index]);
    }
}

#endif
