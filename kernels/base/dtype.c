#include "kernels/base/dtype.h"

#include <string.h>

static const struct {
    size_t bytes;
    const char *name;
} dtypes[WF_DTYPES] = {
    [WF_F32] = {4, "F32"}, [WF_F16] = {2, "F16"}, [WF_BF16] = {2, "BF16"},
    [WF_U8] = {1, "U8"},   [WF_I32] = {4, "I32"},
};

size_t wf_dtype_bytes(enum wf_dtype dtype)
{
    return dtypes[dtype].bytes;
}

const char *wf_dtype_name(enum wf_dtype dtype)
{
    return dtypes[dtype].name;
}

static float bits_to_f32(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t f32_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float wf_bf16_to_f32(uint16_t bits)
{
    return bits_to_f32((uint32_t)bits << 16);
}

uint16_t wf_f32_to_bf16(float value)
{
    const uint32_t bits = f32_to_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u); /* a NaN stays one */
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float wf_f16_to_f32(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t exponent = (half >> 10) & 0x1fu, fraction = half & 0x3ffu;
    if (exponent == 0x1fu)
        return bits_to_f32(sign | 0x7f800000u | (fraction << 13));
    if (exponent == 0) /* zero and subnormals: fraction * 2^-24 */
        return bits_to_f32(sign | f32_to_bits((float)fraction * 0x1p-24f));
    return bits_to_f32(sign | ((exponent + 112u) << 23) | (fraction << 13));
}

uint16_t wf_f32_to_f16(float value)
{
    const uint32_t bits = f32_to_bits(value), magnitude = bits & 0x7fffffffu;
    const uint16_t sign = (uint16_t)((bits >> 16) & 0x8000u);
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) /* rounds to 2^16 or more */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) /* subnormal: adding 0.5 rounds to a multiple of 2^-24 */
        return (uint16_t)(sign | (f32_to_bits(bits_to_f32(magnitude) + 0.5f) - 0x3f000000u));
    const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

void wf_to_f32(float *dst, const void *src, enum wf_dtype dtype, size_t n)
{
    if (dtype == WF_F32) {
        memcpy(dst, src, n * sizeof *dst);
        return;
    }
    const unsigned char *bytes = src;
    for (size_t i = 0; i < n; i++) {
        uint16_t bits;
        memcpy(&bits, bytes + 2 * i, sizeof bits);
        dst[i] = dtype == WF_F16 ? wf_f16_to_f32(bits) : wf_bf16_to_f32(bits);
    }
}

void wf_from_f32(void *dst, enum wf_dtype dtype, const float *src, size_t n)
{
    if (dtype == WF_F32) {
        memcpy(dst, src, n * sizeof *src);
        return;
    }
    unsigned char *bytes = dst;
    for (size_t i = 0; i < n; i++) {
        const uint16_t bits = dtype == WF_F16 ? wf_f32_to_f16(src[i]) : wf_f32_to_bf16(src[i]);
        memcpy(bytes + 2 * i, &bits, sizeof bits);
    }
}
