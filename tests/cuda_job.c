#include "tests/cuda_job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "kernels/cuda/cuda.h"
#include "tests/request.h"

static struct {
    char folder[64], dump[80];
    char path[WF_PATH_BYTES]; /* of a fixture's model */
    char image[REQUEST_PATH];
} work = {.folder = "/tmp/weft-cuda-XXXXXX"};

static const char *source_folder(void)
{
    const char *root = getenv("WEFT_SOURCE_DIR");
    return root ? root : ".";
}

/* --- the wide model --- */

/* The sample model, whose heads of 32 are taken for half as many of 64: no weight tells them apart.
 */
static bool make_wide(void)
{
    char path[WF_PATH_BYTES], command[2 * WF_PATH_BYTES];
    snprintf(command, sizeof command,
             "mkdir -p %s/wide && cp -R %.2000s/samples/shapes/. %s/wide && chmod -R u+w %s/wide",
             work.folder, source_folder(), work.folder, work.folder);
    if (system(command) != 0)
        return false;
    snprintf(path, sizeof path, "%s/wide/transformer/config.json", work.folder);
    json_t *config = json_load_file(path, 0, NULL);
    const bool made = config &&
                      json_object_set_new(config, "attention_head_dim", json_integer(64)) == 0 &&
                      json_object_set_new(config, "num_attention_heads", json_integer(3)) == 0 &&
                      json_dump_file(config, path, 0) == 0;
    json_decref(config);
    return made;
}

bool cuda_jobs_begin(void)
{
    if (!mkdtemp(work.folder))
        return false;
    snprintf(work.dump, sizeof work.dump, "%s/dump", work.folder);
    return make_wide();
}

void cuda_jobs_end(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", work.folder);
    if (system(command) != 0)
        perror(work.folder);
    cuda_double_forget();
}

const char *cuda_jobs_dump(void)
{
    return work.dump;
}

/* --- engines --- */

struct weft_engine *cuda_engine(enum cuda_schedule schedule, struct wf_policy policy,
                                const char *dtype)
{
    struct weft_settings settings;
    struct weft_engine *e;
    weft_settings_defaults(&settings);
    settings.device = "ref";
    settings.dtype = dtype;
    settings.threads = 1;
    assert_int_equal(weft_engine_open(&settings, &e), WEFT_OK);
    e->policy = policy;
    if (schedule == CUDA_SCHEDULES)
        return e;
    cuda_double.schedule = schedule;
    wf_backend_close(&e->backends[0]);
    struct wf_error err; /* as engine/place.c opens one: with an error that does not last */
    if (wf_backend_open_table(&wf_cuda_ops, dtype, 1, e->mem, e->device_mem, &err,
                              &e->backends[0]) != WF_OK)
        fail_msg("%s", err.text);
    e->backends[0]->err = &e->err;
    return e;
}

void cuda_engine_close(struct weft_engine **engine)
{
    struct weft_engine *e = *engine;
    wf_backend_close(&e->backends[0]);
    e->backend_count = 0;
    if (wf_mem_live_all(e->device_mem) != 0 || wf_mem_live_all(e->mem) != 0)
        fail_msg("held after closing: %zu bytes of the device, %zu of the host",
                 wf_mem_live_all(e->device_mem), wf_mem_live_all(e->mem));
    weft_engine_close(engine);
}

void cuda_expected(char path[WF_PATH_BYTES], const char *name, const char *file)
{
    snprintf(path, WF_PATH_BYTES, "%.2000s/tests/fixtures/%.32s/expect/%.64s.safetensors",
             source_folder(), name, file);
}

void cuda_model(struct weft_engine *e, const char *name, struct weft_model **model)
{
    if (strcmp(name, "wide") == 0)
        snprintf(work.path, sizeof work.path, "%s/wide", work.folder);
    else
        snprintf(work.path, sizeof work.path, "%.2000s/tests/fixtures/%.32s/model", source_folder(),
                 name);
    if (weft_model_open(e, work.path, NULL, model) != WEFT_OK)
        fail_msg("%s", weft_engine_error(e));
}

/* --- jobs --- */

/* As the fixture was made. */
static json_t *read_request(const char *name, struct weft_request *r)
{
    char path[WF_PATH_BYTES], folder[WF_PATH_BYTES];
    snprintf(folder, sizeof folder, "%.2000s/tests/fixtures/%.32s", source_folder(), name);
    snprintf(path, sizeof path, "%.2100s/case.json", folder);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    request_of_case(root, folder, r, work.image);
    return root;
}

void cuda_job(struct weft_model *model, const struct cuda_case *c, const char *dump,
              struct weft_job **job)
{
    char path[WF_PATH_BYTES];
    struct weft_request request;
    json_t *root = NULL;
    weft_request_defaults(model, &request);
    request.random_seed = 0;
    request.dump = dump;
    request.resume = c->resume;
    if (c->is_small || strcmp(c->name, "wide") == 0) {
        request.prompt = "a blue square moves left";
        request.width = 32;
        request.height = c->is_small ? 16 : 32;
        request.num_frames = c->is_small ? 5 : 9;
        request.decode_chunk_size = c->is_small;
        request.steps = 2;
        request.guidance_scale = 1.5; /* at 4, "wide" is 42 dB from itself in bf16 on ref too */
        request.seed = 5;
    } else if (!c->decodes) {
        root = read_request(c->name, &request);
    }
    cuda_expected(path, c->name, "latents");
    const enum weft_status status =
        c->decodes ? weft_decode(model, path, &request, job) : weft_generate(model, &request, job);
    json_decref(root);
    if (status != WEFT_OK)
        fail_msg("%s", weft_engine_error(model->engine));
}

struct array cuda_pull(struct weft_job *job, enum weft_status *status)
{
    struct weft_job_info info;
    struct weft_frame frame;
    weft_job_describe(job, &info);
    const size_t size = (size_t)info.width * (size_t)info.height * 3;
    struct array all = {.rank = 4, .dim = {info.frames, info.height, info.width, 3}};
    all.data = calloc(size * (size_t)info.frames, sizeof(float));
    assert_non_null(all.data);
    while ((*status = weft_job_next(job, &frame)) == WEFT_OK && frame.rgb) {
        memcpy(all.data + (size_t)frame.index * size, frame.rgb, size * sizeof(float));
        all.count += size;
    }
    return all;
}

struct array cuda_make(struct weft_engine *e, const struct cuda_case *c, const char *dump)
{
    struct weft_model *model;
    struct weft_job *job;
    enum weft_status status;
    cuda_model(e, c->name, &model);
    cuda_job(model, c, dump, &job);
    const struct array all = cuda_pull(job, &status);
    if (status != WEFT_OK)
        fail_msg("%s, %s: %s", c->name, c->dtype, weft_engine_error(e));
    weft_job_close(&job);
    weft_model_close(&model);
    return all;
}
