#include "tests/fuzz/picture.h"

#include "io/image.h"

enum {
    MOST_READ = 1 << 20, /* pixels; more are read in the same way, and take long */
    MOST_RESIZED = 1 << 14,
    WIDTH = 7,
    HEIGHT = 9,
};

static void resize(struct fuzz *f, const struct wf_image *image)
{
    static const enum wf_image_fit fits[] = {WF_FIT_STRETCH, WF_FIT_CROP, WF_FIT_PAD};
    float out[3 * WIDTH * HEIGHT];
    struct wf_image small;
    for (int i = 0; i < 3; i++)
        if (fuzz_succeeded(
                f, wf_image_resize(image, WIDTH, HEIGHT, fits[i], f->mem, &small, &f->err))) {
            FUZZ_CHECK(small.width == WIDTH && small.height == HEIGHT);
            wf_image_close(&small);
        }
    if (fuzz_succeeded(f, wf_image_antialias(image, WIDTH, HEIGHT, out, f->mem, &f->err)))
        for (int i = 0; i < 3 * WIDTH * HEIGHT; i++)
            FUZZ_CHECK(out[i] > -1 && out[i] < 2);
}

enum wf_status fuzz_picture(struct fuzz *f, const uint8_t *data, size_t size)
{
    const char *path = fuzz_write("picture", data, size);
    struct wf_image measured, image;
    WF_TRY(wf_image_measure(path, f->mem, &measured, &f->err));
    FUZZ_CHECK(measured.width > 0 && measured.height > 0);
    const int64_t pixels = (int64_t)measured.width * measured.height;
    FUZZ_CHECK(pixels <= WF_IMAGE_PIXELS);
    wf_image_close(&measured);
    if (pixels > MOST_READ)
        return WF_OK;
    const enum wf_status status = wf_image_read(path, f->mem, &image, &f->err);
    if (status != WF_OK) {
        FUZZ_CHECK(!image.rgb && !image.width && !image.height);
        return status;
    }
    FUZZ_CHECK((int64_t)image.width * image.height == pixels);
    if (pixels <= MOST_RESIZED)
        resize(f, &image);
    wf_image_close(&image);
    return WF_OK;
}
