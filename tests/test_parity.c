/* The whole engine against what diffusers computed in float32: every folder below tests/fixtures,
   or those that are named on the command line (make more with tests/oracle/make_cases.py), with
   products in f32 and in bf16. Bounds are those of the design. Layers as narrow as most of these
   stay f32 (wf_operand_type); test_bf16 has wide ones. */
#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/weft.h"
#include "tests/compare.h"
#include "tests/request.h"

/* What a type of products is held to; relative errors are in the Euclidean norm. */
struct mode {
    const char *dtype;
    double embeds;  /* relative error of the text encoder's rows */
    double latents; /* of the latents after the first step, */
    double growth;  /* and what each further step may add */
    double share;   /* of samples within 1/255; 0: not asked */
    double psnr;    /* of the frames, in dB */
};

static const struct mode modes[] = {
    {.dtype = "f32", .embeds = 1e-5, .latents = 5e-5, .share = 0.9999, .psnr = 90},
    {.dtype = "bf16", .embeds = 1e-2, .latents = 1e-2, .growth = 1e-2, .psnr = 45},
};

/* Stable Video Diffusion's, whose first sigma is 700. */
static const struct mode svd_modes[] = {
    {.dtype = "f32", .embeds = 1e-4, .latents = 2e-4, .share = 0.999, .psnr = 80},
    {.dtype = "bf16", .embeds = 1e-2, .latents = 1e-2, .growth = 1e-2, .psnr = 40},
};

static const double noise_bound = 1e-6, frame_bound = 1.0 / 255 + 1e-7;

enum { PATH = 4096 };

struct tally {
    int passed, failed;
    const struct mode *mode;
};

static void judge(struct tally *t, int good, const char *folder, const char *what, double value)
{
    if (good)
        t->passed++;
    else
        t->failed++;
    printf("%s %s, %s: %s %.3g\n", good ? "ok  " : "FAIL", folder, t->mode->dtype, what, value);
}

static int exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

static void join(char out[PATH], const char *a, const char *b)
{
    snprintf(out, PATH, "%.2000s/%.2000s", a, b);
}

static int is_svd(const char *folder)
{
    char path[PATH];
    join(path, folder, "model/image_encoder");
    return exists(path);
}

/* --- comparing dumped tensors --- */

static void compare_tensor(struct tally *t, const char *folder, const char *dump, const char *file,
                           const char *tensor, double bound, int absolute)
{
    char expect[PATH], name[64], path[PATH];
    struct array want, have = {0};
    snprintf(name, sizeof name, "%.48s.safetensors", file);
    snprintf(path, sizeof path, "%.2000s/expect", folder);
    join(expect, path, name);
    if (!exists(expect))
        return;
    join(path, dump, name);
    const int read = array_read(expect, tensor, &want) && array_read(path, tensor, &have);
    double value = -1;
    if (read && array_same_dims(&want, &have))
        value = absolute ? largest_difference(have.data, want.data, want.count)
                         : relative_l2(have.data, want.data, want.count);
    judge(t, value >= 0 && value <= bound, folder, file, value);
    array_free(&want);
    array_free(&have);
}

static void compare_dump(struct tally *t, const char *folder, const char *dump, int steps)
{
    const struct mode *m = t->mode;
    compare_tensor(t, folder, dump, "prompt_embeds", "prompt_embeds", m->embeds, 0);
    compare_tensor(t, folder, dump, "negative_prompt_embeds", "negative_prompt_embeds", m->embeds,
                   0);
    compare_tensor(t, folder, dump, "image_embeds", "image_embeds", m->embeds, 0);
    compare_tensor(t, folder, dump, "image_latents", "image_latents", m->embeds, 0);
    compare_tensor(t, folder, dump, "latents_initial", "latents", noise_bound, 1);
    for (int i = 0; i < steps; i++) {
        char name[32];
        snprintf(name, sizeof name, "latents_step_%03d", i);
        compare_tensor(t, folder, dump, name, "latents", m->latents + i * m->growth, 0);
    }
    compare_tensor(t, folder, dump, "latents", "latents", m->latents + (steps - 1) * m->growth, 0);
}

/* --- pulling frames --- */

/* All frames of a job as one array [T,H,W,3]; data NULL when the job failed. */
static struct array pull(struct weft_job *job)
{
    struct weft_job_info info;
    struct weft_frame frame;
    weft_job_describe(job, &info);
    const size_t size = (size_t)info.width * (size_t)info.height * 3;
    struct array all = {.rank = 4, .dim = {info.frames, info.height, info.width, 3}};
    all.data = calloc(size * (size_t)info.frames, sizeof(float));
    enum weft_status status;
    while ((status = weft_job_next(job, &frame)) == WEFT_OK && frame.rgb && all.data) {
        memcpy(all.data + (size_t)frame.index * size, frame.rgb, size * sizeof(float));
        all.count += size;
    }
    if (status != WEFT_OK || all.count != size * (size_t)info.frames)
        array_free(&all);
    return all;
}

static void compare_frames(struct tally *t, const char *folder, const char *what,
                           const struct array *have, const struct array *want)
{
    if (!have->data || !array_same_dims(have, want)) {
        judge(t, 0, folder, what, 0);
        return;
    }
    const double db = psnr(have->data, want->data, want->count);
    const double share = share_within(have->data, want->data, want->count, frame_bound);
    judge(t, db >= t->mode->psnr && share >= t->mode->share, folder, what, db);
    printf("     dB; %.5g within 1/255, largest difference %.3g\n", share,
           largest_difference(have->data, want->data, want->count));
}

/* Decodes a latents file at every chunk size of the clip's and more: diffusers' frames, and bit for
   bit the same among themselves; where chunks are part of the function, at the family's alone. */
static void check_decode(struct tally *t, const char *folder, struct weft_model *model,
                         const char *latents, const struct array *want)
{
    struct array first = {0};
    const int most = is_svd(folder) ? 0 : (int)want->dim[0] + 1;
    for (int chunk = 0; chunk <= most && chunk < 24; chunk++) {
        struct weft_request request;
        struct weft_job *job = NULL;
        struct array have = {0};
        weft_request_defaults(model, &request);
        request.decode_chunk_size = chunk;
        if (weft_decode(model, latents, &request, &job) == WEFT_OK)
            have = pull(job);
        weft_job_close(&job);
        if (!first.data) {
            compare_frames(t, folder, "frames of decode", &have, want);
            first = have;
            if (!first.data)
                return;
            continue;
        }
        const int same = have.data && array_same_dims(&have, &first) &&
                         memcmp(have.data, first.data, first.count * sizeof(float)) == 0;
        if (!same)
            judge(t, 0, folder, "the same pixels for chunk size", chunk);
        array_free(&have);
    }
    judge(t, 1, folder, "chunk sizes give the same pixels, up to", most);
    array_free(&first);
}

/* --- a case --- */

static void check_generate(struct tally *t, const char *folder, struct weft_engine *engine,
                           struct weft_model *model, const json_t *root, const char *dump)
{
    char path[PATH], image[PATH];
    struct weft_request request;
    struct weft_job *job = NULL;
    struct array have = {0}, want;
    weft_request_defaults(model, &request);
    request_of_case(root, folder, &request, image);
    request.dump = dump;
    if (weft_generate(model, &request, &job) == WEFT_OK)
        have = pull(job);
    weft_job_close(&job);
    if (!have.data)
        printf("     %s\n", weft_engine_error(engine));
    compare_dump(t, folder, dump, request.steps);
    join(path, folder, "expect/frames.safetensors");
    if (array_read(path, "frames", &want)) {
        compare_frames(t, folder, "frames", &have, &want);
        join(path, folder, "expect/latents.safetensors");
        check_decode(t, folder, model, path, &want);
    }
    array_free(&have);
    array_free(&want);
}

/* decode_*.safetensors hold latents and the frames that they give. */
static void check_decode_files(struct tally *t, const char *folder, struct weft_model *model)
{
    char expect[PATH], path[PATH];
    join(expect, folder, "expect");
    DIR *dir = opendir(expect);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct array want;
        if (strncmp(entry->d_name, "decode_", 7) != 0)
            continue;
        join(path, expect, entry->d_name);
        if (array_read(path, "frames", &want))
            check_decode(t, folder, model, path, &want);
        array_free(&want);
    }
    if (dir)
        closedir(dir);
}

static void remove_files(const char *folder)
{
    char path[PATH];
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        join(path, folder, entry->d_name);
        if (entry->d_name[0] != '.')
            unlink(path);
    }
    if (dir)
        closedir(dir);
    rmdir(folder);
}

static void check_mode(struct tally *t, const char *folder, const char *device)
{
    char path[PATH], dump[] = "/tmp/weft-parity-XXXXXX";
    struct weft_engine *engine = NULL;
    struct weft_model *model = NULL;
    struct weft_settings settings;
    weft_settings_defaults(&settings);
    settings.device = device;
    settings.dtype = t->mode->dtype;
    join(path, folder, "model");
    if (!mkdtemp(dump) || weft_engine_open(&settings, &engine) != WEFT_OK ||
        weft_model_open(engine, path, NULL, &model) != WEFT_OK) {
        printf("     %s\n", weft_engine_error(engine));
        judge(t, 0, folder, "opens", 0);
    } else {
        join(path, folder, "case.json");
        json_t *root = exists(path) ? json_load_file(path, 0, NULL) : NULL;
        if (root)
            check_generate(t, folder, engine, model, root, dump);
        json_decref(root);
        check_decode_files(t, folder, model);
    }
    remove_files(dump);
    weft_model_close(&model);
    weft_engine_close(&engine);
}

static void check_case(struct tally *t, const char *folder, const char *device)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        t->mode = is_svd(folder) ? &svd_modes[i] : &modes[i];
        check_mode(t, folder, device);
    }
}

/* Every folder below root that holds a model. */
static void check_all(struct tally *t, const char *root, const char *device)
{
    struct dirent **entries = NULL;
    const int count = scandir(root, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char folder[PATH], model[PATH];
        join(folder, root, entries[i]->d_name);
        join(model, folder, "model/model_index.json");
        if (entries[i]->d_name[0] != '.' && exists(model))
            check_case(t, folder, device);
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    struct tally t = {0};
    char fixtures[PATH];
    const char *source = getenv("WEFT_SOURCE_DIR"), *device = getenv("WEFT_TEST_DEVICE");
    join(fixtures, source ? source : ".", "tests/fixtures");
    if (argc < 2)
        check_all(&t, fixtures, device);
    for (int i = 1; i < argc; i++)
        check_case(&t, argv[i], device);
    printf("%d passed, %d failed\n", t.passed, t.failed);
    return t.failed > 0 || t.passed == 0;
}
