#include "engine/recipe.h"

#include <stdio.h>
#include <string.h>

#include "engine/identity.h"
#include "engine/place.h"
#include "engine/report.h"

static const char *const tilings[] = {
    [WF_TILING_NONE] = "none", [WF_TILING_EXACT] = "exact", [WF_TILING_BLEND] = "blend"};
static const char *const fits[] = {
    [WEFT_FIT_STRETCH] = "stretch", [WEFT_FIT_CROP] = "crop", [WEFT_FIT_PAD] = "pad"};

/* --- adding; where memory is short the object becomes NULL, which is told at the end --- */

static void add(json_t **object, const char *key, json_t *value)
{
    *object = wf_json_with(*object, key, value);
}

static void add_text(json_t **object, const char *key, const char *text)
{
    if (text)
        add(object, key, wf_report_string(text));
}

static void add_size(json_t **object, const char *key, int64_t width, int64_t height)
{
    char text[64];
    snprintf(text, sizeof text, "%lldx%lld", (long long)width, (long long)height);
    add_text(object, key, text);
}

static enum wf_status add_file(json_t **object, const char *key, const char *path,
                               struct wf_error *err)
{
    char hash[WF_HASH_TEXT];
    if (!path)
        return WF_OK;
    WF_TRY(wf_identity_of_file(path, hash, err));
    add_text(object, key, hash);
    return WF_OK;
}

static enum wf_status add_model(json_t **object, const struct weft_model *m, struct wf_error *err)
{
    char hash[WF_HASH_TEXT], name[WF_PATH_BYTES];
    strcpy(name, m->folder);
    for (size_t end = strlen(name); end > 1 && name[end - 1] == '/';)
        name[--end] = '\0';
    WF_TRY(wf_identity_of_model(m, hash, err));
    add(object, "model",
        json_pack("{s:o, s:s}", "name", wf_report_string(name + wf_path_folder(name)), "hash",
                  hash));
    add_text(object, "family", m->family->name);
    if (m->variant[0])
        add_text(object, "variant", m->variant);
    return WF_OK;
}

/* --- the parts --- */

static void add_guidance(json_t **object, const struct weft_request *r, unsigned takes)
{
    if (takes & WEFT_TAKES_GUIDANCE)
        add(object, "guidance_scale", json_real(r->guidance_scale));
    if (takes & WEFT_TAKES_GUIDANCE_RANGE) {
        add(object, "min_guidance_scale", json_real(r->min_guidance_scale));
        add(object, "max_guidance_scale", json_real(r->max_guidance_scale));
    }
    if (takes & WEFT_TAKES_MOTION) {
        add(object, "motion_bucket_id", json_integer(r->motion_bucket_id));
        add(object, "noise_aug_strength", json_real(r->noise_aug_strength));
    }
    if (r->flow_shift > 0)
        add(object, "flow_shift", json_real(r->flow_shift));
}

static enum wf_status add_request(json_t **object, const struct weft_job *job, struct wf_error *err)
{
    const struct weft_request *r = &job->request;
    const unsigned takes = job->model->family->takes;
    char seed[24];
    add_text(object, "prompt", takes & WEFT_TAKES_PROMPT && !r->prompt ? "" : r->prompt);
    add_text(object, "negative_prompt", r->negative_prompt);
    WF_TRY(add_file(object, "image", r->image, err));
    if (r->image)
        add_text(object, "fit", fits[r->fit]);
    add(object, "width", json_integer(job->width));
    add(object, "height", json_integer(job->height));
    add(object, "num_frames", json_integer(job->frames));
    add(object, "steps", json_integer(r->steps));
    add_guidance(object, r, takes);
    if (takes & WEFT_TAKES_PROMPT)
        add(object, "max_sequence_length", json_integer(r->max_sequence_length));
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)job->seed); /* JSON's are signed */
    add_text(object, "seed", seed);
    add_text(object, "generator", r->generator);
    return add_file(object, "latents", r->latents, err);
}

static void add_decoding(json_t **object, const struct weft_job *job)
{
    const struct wf_decode_settings *d = &job->decoding;
    const bool tiles = d->tiling != WF_TILING_NONE, blends = d->tiling == WF_TILING_BLEND;
    if (!job->model->vae->geometry.causal) {
        add(object, "decode_chunk_size", json_integer(d->chunk_size));
        add(object, "chunk_overlap", json_integer(d->chunk_overlap));
    } else if (d->chunk_size) {
        add(object, "decode_chunk_size", json_integer(d->chunk_size));
    }
    const bool noted = job->noted_tiling[0];
    add_text(object, "tiling", noted ? job->noted_tiling : tilings[d->tiling]);
    if (noted && job->noted_tile[0])
        add_text(object, "tile_size", job->noted_tile);
    else if (!noted && tiles && d->tile.width)
        add_size(object, "tile_size", d->tile.width, d->tile.height);
    if (blends)
        add_size(object, "tile_overlap", d->overlap.width, d->overlap.height);
}

static void add_machine(json_t **object, const struct weft_job *job)
{
    char text[WF_PLACES_BYTES];
    wf_model_devices(job->model, text);
    add_text(object, "device", text);
    wf_model_dtypes(job->model, text);
    add_text(object, "dtype", text);
    add(object, "threads", json_integer(job->be->threads));
}

/* What was asked of the encoder; what was not is its own. */
static void add_encoder(json_t **object, const struct weft_output *output)
{
    add_text(object, "codec", output->codec);
    add_text(object, "preset", output->preset);
    add_text(object, "pix_fmt", output->pix_fmt);
    if (output->crf >= 0)
        add(object, "crf", json_real(output->crf));
}

static enum wf_status fill(json_t **object, const struct weft_job *job, struct wf_error *err)
{
    char rate[32];
    snprintf(rate, sizeof rate, "%d/%d", job->request.fps_num, job->request.fps_den);
    add_text(object, "weft", weft_version());
    WF_TRY(add_model(object, job->model, err));
    if (!job->decode_only)
        WF_TRY(add_request(object, job, err));
    add_text(object, "fps", rate);
    add_decoding(object, job);
    add_machine(object, job);
    return WF_OK;
}

enum wf_status wf_recipe_text(const struct weft_job *job, const struct weft_output *output,
                              char **text, struct wf_error *err)
{
    json_t *object = json_object();
    *text = NULL;
    const enum wf_status status = fill(&object, job, err);
    if (output)
        add_encoder(&object, output);
    if (status == WF_OK)
        *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(object);
    return status == WF_OK && !*text ? wf_fail_memory(err, "metadata", 0) : status;
}
