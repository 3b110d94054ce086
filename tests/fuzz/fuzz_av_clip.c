/* io/video/av_source.c: what libavformat reads. */
#include "tests/fuzz/clip.h"

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    return fuzz_clip(f, fuzz_write("clip.mkv", data, size));
}
