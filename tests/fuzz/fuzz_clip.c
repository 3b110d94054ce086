/* io/video: y4m_source.c, tensor_source.c and png_source.c, which the first byte chooses. */
#include "tests/fuzz/clip.h"

enum wf_status fuzz_parse(struct fuzz *f, const uint8_t *data, size_t size)
{
    static const char *const names[] = {"clip.y4m", "clip.safetensors", "clip-1.png"};
    if (size < 1)
        return WF_OK;
    const unsigned kind = data[0] % 3;
    const char *path = fuzz_write(names[kind], data + 1, size - 1);
    return fuzz_clip(f, kind == 2 ? fuzz_path("clip-%d.png") : path);
}
