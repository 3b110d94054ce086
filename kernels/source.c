#include "kernels/source.h"

#include <string.h>

static enum wf_status read_memory(void *context, uint64_t offset, void *dst, size_t bytes,
                                  struct wf_error *err)
{
    (void)err;
    memcpy(dst, (const unsigned char *)context + offset, bytes);
    return WF_OK;
}

struct wf_source wf_source_memory(const void *data, enum wf_dtype dtype, uint64_t bytes)
{
    return (struct wf_source){
        .dtype = dtype, .bytes = bytes, .read = read_memory, .context = (void *)(uintptr_t)data};
}

enum wf_status wf_source_read(const struct wf_source *src, uint64_t offset, void *dst, size_t bytes,
                              struct wf_error *err)
{
    if (offset > src->bytes || bytes > src->bytes - offset)
        return wf_fail(err, WF_FAILED,
                       "weights: bytes %llu to %llu of %llu were asked for; this is a bug in weft",
                       (unsigned long long)offset, (unsigned long long)(offset + bytes),
                       (unsigned long long)src->bytes);
    return src->read(src->context, offset, dst, bytes, err);
}

enum wf_status wf_source_f32(const struct wf_source *src, uint64_t first, size_t count, float *dst,
                             struct wf_error *err)
{
    unsigned char piece[8192];
    const size_t each = wf_dtype_bytes(src->dtype), most = sizeof piece / each;
    if (src->dtype == WF_F32)
        return wf_source_read(src, first * each, dst, count * each, err);
    for (size_t done = 0; done < count; done += most) {
        const size_t n = count - done < most ? count - done : most;
        WF_TRY(wf_source_read(src, (first + done) * each, piece, n * each, err));
        wf_to_f32(dst + done, piece, src->dtype, n);
    }
    return WF_OK;
}
