// Small pictures of decoded frames: RGB for training and the report, grey for the fingerprint.
//
// A frame is an NV12 surface: luma rows of `pitch` bytes from `surface`, and rows of interleaved Cb and Cr
// of the same pitch from `surface + chroma_offset`. The picture is the part of `width` x `height` pixels from
// pixel (x, y), both even. Arguments are made in pictures.py.
//
// Compiled by NVRTC, which has no standard headers, and for tests by a host compiler. There threads run one
// after the other, so a kernel whose threads wait for each other (grey_cells) needs blocks of one thread.

typedef unsigned char u8;
typedef long long i64;
typedef unsigned long long u64;

#ifndef __CUDACC__
#include <math.h>
#define __global__
#define __device__
#define __shared__ static
#define __syncthreads()
#define __shfl_down_sync(mask, value, distance) (value)
struct Index {
    int x, y;
};
static Index blockIdx, threadIdx, blockDim;
#endif

namespace {

__device__ int clamp(int value, int low, int high) {
    return value < low ? low : value > high ? high : value;
}

// ---------------------------------------------------------------- RGB

// The source pixels along one axis that an output pixel is made of, and their weights: a triangle as wide as
// two output pixels, or two source pixels where the picture is enlarged. This is FFmpeg's "bilinear".
struct Taps {
    int first, last;  // may lie outside of the picture, whose border is then repeated
    float centre;     // in source pixels; pixel k lies at k + 0.5
    float slope;      // 1 / half the width of the triangle
    float total;      // sum of the weights

    // scale: source pixels per output pixel. shift: see rgb_resize.
    __device__ Taps(int output, float scale, float shift) {
        const float radius = scale > 1.0f ? scale : 1.0f;
        centre = (output + 0.5f) * scale + shift;
        slope = 1.0f / radius;
        first = (int)floorf(centre - radius - 0.5f) + 1;
        last = (int)ceilf(centre + radius - 0.5f) - 1;
        total = 0.0f;
        for (int k = first; k <= last; k++) total += weight(k);
    }

    __device__ float weight(int k) const { return 1.0f - slope * fabsf(k + 0.5f - centre); }
};

// Means of CHANNELS interleaved channels, rounded to integers as FFmpeg stores them before it converts them.
template <int CHANNELS>
__device__ void mean(const u8 *plane, int pitch, int width, int height, const Taps &x, const Taps &y,
                     float *result) {
    float sums[CHANNELS] = {};
    for (int row = y.first; row <= y.last; row++) {
        const u8 *line = plane + (i64)clamp(row, 0, height - 1) * pitch;
        float line_sums[CHANNELS] = {};
#ifdef __CUDACC__
#pragma unroll 4
#endif
        for (int column = x.first; column <= x.last; column++) {
            const u8 *pixel = line + CHANNELS * clamp(column, 0, width - 1);
            const float weight = x.weight(column);
            for (int c = 0; c < CHANNELS; c++) line_sums[c] += weight * pixel[c];
        }
        const float weight = y.weight(row);
        for (int c = 0; c < CHANNELS; c++) sums[c] += weight * line_sums[c];
    }
    for (int c = 0; c < CHANNELS; c++) result[c] = floorf(sums[c] / (x.total * y.total) + 0.5f);
}

__device__ u8 to_byte(float value) { return (u8)clamp((int)floorf(value + 0.5f), 0, 255); }

}  // namespace

// One thread makes one pixel of `out`, (out_height, out_width, 3).
//
// shift_x, shift_y: how far right of and below the middle of its four luma pixels a position has to be taken
// in the chroma plane, in chroma pixels: 0.25 where the samples lie on the left or upper luma pixels.
// The other arguments are those of ColorConversion in pictures.py.
extern "C" __global__ void rgb_resize(const u8 *surface, int pitch, i64 chroma_offset, int x, int y,
                                      int width, int height, u8 *out, int out_width, int out_height,
                                      float shift_x, float shift_y, float luma_offset, float luma_gain,
                                      float cr_to_red, float cb_to_green, float cr_to_green,
                                      float cb_to_blue) {
    const int column = blockIdx.x * blockDim.x + threadIdx.x;
    const int row = blockIdx.y * blockDim.y + threadIdx.y;
    if (column >= out_width || row >= out_height) return;

    const float scale_x = (float)width / out_width, scale_y = (float)height / out_height;
    const u8 *luma_plane = surface + (i64)y * pitch + x;
    float luma, chroma[2];
    mean<1>(luma_plane, pitch, width, height, Taps(column, scale_x, 0.0f), Taps(row, scale_y, 0.0f), &luma);

    const int chroma_width = (width + 1) / 2, chroma_height = (height + 1) / 2;
    const float chroma_scale_x = (float)chroma_width / out_width;
    const float chroma_scale_y = (float)chroma_height / out_height;
    const u8 *chroma_plane = surface + chroma_offset + (i64)(y / 2) * pitch + x;
    mean<2>(chroma_plane, pitch, chroma_width, chroma_height, Taps(column, chroma_scale_x, shift_x),
            Taps(row, chroma_scale_y, shift_y), chroma);

    const float grey = luma_gain * (luma - luma_offset);
    const float cb = chroma[0] - 128.0f, cr = chroma[1] - 128.0f;
    u8 *pixel = out + 3 * ((i64)row * out_width + column);
    pixel[0] = to_byte(grey + cr_to_red * cr);
    pixel[1] = to_byte(grey + cb_to_green * cb + cr_to_green * cr);
    pixel[2] = to_byte(grey + cb_to_blue * cb);
}

// ---------------------------------------------------------------- grey

namespace {

// The pixels along one axis that a cell covers at least in part. Lengths in 1/cells of a pixel are integers:
// a cell has `length` of them and a pixel has `cells`.
struct Span {
    int begin, end;   // pixels
    int start, stop;  // of the cell, in 1/cells of a pixel
    int cells;

    __device__ Span(int cell, int cells, int length) : cells(cells) {
        start = cell * length;
        stop = start + length;
        begin = start / cells;
        end = (stop + cells - 1) / cells;
    }

    // How much of a pixel the cell covers, in 1/cells of it.
    __device__ int cover(int pixel) const {
        const int low = pixel * cells, high = low + cells;
        return (high < stop ? high : stop) - (low > start ? low : start);
    }
};

}  // namespace

// One block makes one cell of `out`, (side, side): bit for bit that of asl.codecs.pictures.grey_cells, whose
// docstring has the formula. blockDim.x must be 32, a warp (1 on the host), and blockDim.y at most 32.
extern "C" __global__ void grey_cells(const u8 *surface, int pitch, int x, int y, int width, int height,
                                      u8 *out, int side, int full_range) {
    __shared__ u64 partial[32];
    const Span rows(blockIdx.y, side, height), columns(blockIdx.x, side, width);
    u64 sum = 0;
    for (int row = rows.begin + threadIdx.y; row < rows.end; row += blockDim.y) {
        const u8 *line = surface + (i64)(y + row) * pitch + x;
        unsigned line_sum = 0;  // at most 255 * width
        for (int column = columns.begin + threadIdx.x; column < columns.end; column += blockDim.x)
            line_sum += columns.cover(column) * line[column];
        sum += (u64)rows.cover(row) * line_sum;
    }
    for (int distance = blockDim.x / 2; distance > 0; distance /= 2)
        sum += __shfl_down_sync(0xffffffffu, sum, distance);
    if (threadIdx.x == 0) partial[threadIdx.y] = sum;
    __syncthreads();
    if (threadIdx.x != 0 || threadIdx.y != 0) return;

    i64 total = 0;
    for (int i = 0; i < (int)blockDim.y; i++) total += (i64)partial[i];
    const i64 area = (i64)width * height;
    const i64 doubled = full_range ? 2 * total + area : 510 * (total - 16 * area) + 219 * area;
    const i64 level = doubled / ((full_range ? 2 : 438) * area);
    out[(i64)blockIdx.y * side + blockIdx.x] = (u8)(doubled < 0 ? 0 : level > 255 ? 255 : level);
}
