#include "engine/preview.h"

#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "engine/dump.h"
#include "engine/preview_fit.h"
#include "engine/resume.h"
#include "io/image.h"
#include "io/output.h"
#include "io/part.h"

enum {
    SHOWN = 16, /* frames of latents on the sheet, at most */
    GAP = 2,    /* pixels between them */
    SIDE = 640  /* of the sheet, where cells are enlarged: a larger one takes longer to encode */
};

static const double faded = 0.25; /* what earlier examples weigh beside new ones */

/* How the frames lie on the sheet. */
struct sheet {
    int64_t frames, columns, rows, scale; /* scale: pixels of a cell */
    int64_t width, height;                /* of the sheet */
};

struct wf_preview {
    struct wf_colours colours;
    struct sheet sheet;
    unsigned char *rgb; /* [sheet.height, sheet.width, 3]: black between the frames */
    float *latents;     /* [T,h,w,C], on the host */
    bool fitted, warned;
};

/* --- opening --- */

static struct sheet lay_out(const int64_t dims[4], int64_t most_scale)
{
    struct sheet s = {.frames = dims[0] < SHOWN ? dims[0] : SHOWN, .columns = 1, .scale = 1};
    while (s.columns * s.columns < s.frames)
        s.columns++;
    s.rows = (s.frames + s.columns - 1) / s.columns;
    const int64_t cells =
        s.columns * dims[2] > s.rows * dims[1] ? s.columns * dims[2] : s.rows * dims[1];
    while (s.scale < most_scale && (s.scale + 1) * cells <= SIDE)
        s.scale++;
    s.width = s.columns * (dims[2] * s.scale + GAP) - GAP;
    s.height = s.rows * (dims[1] * s.scale + GAP) - GAP;
    return s;
}

static enum wf_status check_path(const struct weft_job *job, struct wf_error *err)
{
    const char *path = job->request.preview, *dot = strrchr(path, '.');
    struct wf_output *out;
    struct stat info;
    if (!dot || strcasecmp(dot, ".png") != 0)
        return wf_fail(err, WF_REFUSED,
                       "%s: a preview is a PNG; give it a name that ends with .png", path);
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode))
        return wf_fail(err, WF_REFUSED, "%s: this is no file; give the preview another name", path);
    if (job->request.dump &&
        wf_dump_writes(job->request.dump, job->model->family, job->request.steps, path))
        return wf_fail(err, WF_REFUSED, "%s: the dump writes there too; choose another name", path);
    if (wf_resume_writes(job, path))
        return wf_fail(err, WF_REFUSED, "%s: --resume keeps its files there; choose another name",
                       path);
    WF_TRY(wf_output_open(path, true, &job->inputs, job->model->engine->mem, &out, err));
    wf_output_discard(&out);
    wf_part_sweep(path, 0, 0);
    return WF_OK;
}

static enum wf_status take_memory(struct weft_job *job, struct wf_preview *p, struct wf_error *err)
{
    struct wf_mem *mem = job->model->engine->mem;
    const struct wf_tensor latents = wf_tensor_of(NULL, WF_F32, 4, job->dims);
    p->sheet = lay_out(job->dims, job->model->vae->geometry.spatial);
    p->rgb = wf_calloc(mem, WF_MEM_FRAMES, (size_t)(p->sheet.height * p->sheet.width), 3);
    p->latents = wf_alloc(mem, WF_MEM_CACHE, wf_tensor_bytes(&latents));
    if (!p->rgb || !p->latents)
        return wf_fail_memory(err, "preview", wf_tensor_bytes(&latents));
    return wf_colours_open(job->dims[3], mem, &p->colours, err);
}

enum wf_status wf_preview_open(struct weft_job *job, struct wf_error *err)
{
    if (!job->be->is_plan)
        WF_TRY(check_path(job, err));
    job->preview = wf_calloc(job->model->engine->mem, WF_MEM_MISC, 1, sizeof *job->preview);
    if (!job->preview)
        return wf_fail_memory(err, "preview", sizeof *job->preview);
    return take_memory(job, job->preview, err);
}

void wf_preview_close(struct wf_preview **preview)
{
    struct wf_preview *p = *preview;
    if (!p)
        return;
    wf_colours_close(&p->colours);
    wf_free(p->rgb);
    wf_free(p->latents);
    wf_free(p);
    *preview = NULL;
}

/* --- the colours --- */

/* Fits the colours to the guess itself: to latents as they occur, which random ones are not. */
static enum wf_status fit(struct weft_job *job, struct wf_error *err)
{
    struct wf_preview *p = job->preview;
    wf_colours_fade(&p->colours, faded);
    WF_TRY(wf_preview_examples(job, p->latents, &p->colours, err));
    if (!job->be->is_plan)
        wf_colours_solve(&p->colours);
    p->fitted = true;
    return WF_OK;
}

/* In this job's first step, and whenever as many steps were done again as before: the more there
   is to see, the less it changes. */
static bool is_due(const struct wf_preview *p, int step)
{
    const int done = step + 1;
    return !p->fitted || (done & (done - 1)) == 0;
}

/* --- the picture --- */

/* Frame number i of the sheet, each cell a square. */
static void paint_frame(struct wf_preview *p, const int64_t dims[4], int64_t i)
{
    const struct sheet *s = &p->sheet;
    const int64_t t = wf_preview_nth(i, s->frames, dims[0]);
    const int64_t left = i % s->columns * (dims[2] * s->scale + GAP);
    const int64_t top = i / s->columns * (dims[1] * s->scale + GAP);
    const size_t line = (size_t)(dims[2] * s->scale) * 3, pitch = (size_t)s->width * 3;
    for (int64_t y = 0; y < dims[1]; y++) {
        unsigned char *to = p->rgb + (size_t)(top + y * s->scale) * pitch + (size_t)left * 3;
        for (int64_t x = 0; x < dims[2] * s->scale; x += s->scale) {
            wf_colours_apply(&p->colours,
                             p->latents + ((t * dims[1] + y) * dims[2] + x / s->scale) * dims[3],
                             to + x * 3);
            for (int64_t k = 1; k < s->scale; k++)
                memcpy(to + (x + k) * 3, to + x * 3, 3);
        }
        for (int64_t k = 1; k < s->scale; k++)
            memcpy(to + (size_t)k * pitch, to, line);
    }
}

static enum wf_status write_sheet(const struct weft_job *job, struct wf_error *err)
{
    struct wf_mem *mem = job->model->engine->mem;
    const struct wf_preview *p = job->preview;
    const int width = (int)p->sheet.width, height = (int)p->sheet.height;
    size_t bytes = wf_image_png_room(width, height);
    unsigned char *file = wf_alloc(mem, WF_MEM_MISC, bytes);
    if (!file)
        return wf_fail_memory(err, "preview", bytes);
    enum wf_status status = WF_OK;
    if (!job->be->is_plan) {
        status = wf_image_encode_png(width, height, p->rgb, true, file, &bytes, err);
        if (status == WF_OK)
            status = wf_output_put(job->request.preview, file, bytes, NULL, mem, err);
    }
    wf_free(file);
    return status;
}

/* The clip matters more than its preview. */
static void show(struct weft_job *job)
{
    struct wf_preview *p = job->preview;
    struct wf_error failure = {.status = WF_OK};
    for (int64_t i = 0; i < p->sheet.frames && !job->be->is_plan; i++)
        paint_frame(p, job->dims, i);
    if (write_sheet(job, &failure) == WF_OK || p->warned)
        return;
    p->warned = true;
    wf_log(job->model->engine, WEFT_LOG_WARNING, "preview: %s (the clip goes on)", failure.text);
}

enum wf_status wf_preview_step(struct weft_job *job, int step, struct wf_tensor prediction,
                               struct wf_error *err)
{
    struct wf_tensor estimate;
    if (!job->preview)
        return WF_OK;
    const struct wf_arena_mark mark = wf_arena_mark(&job->arena);
    WF_TRY(wf_tensor_new(&job->arena, WF_F32, &estimate, err, 4, job->dims));
    WF_TRY(wf_sampler_estimate(job->sampler, job->be, step, prediction, job->latents, estimate));
    WF_TRY(wf_download(job->be, job->preview->latents, estimate));
    wf_arena_release(&job->arena, mark);
    if (is_due(job->preview, step))
        WF_TRY(fit(job, err));
    show(job);
    return WF_OK;
}
