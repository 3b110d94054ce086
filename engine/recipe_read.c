/* What a clip says of how it was made, as weft.h has it: a request to be made again. */
#include <stdio.h>
#include <string.h>

#include "engine/identity.h"
#include "engine/recipe.h"
#include "io/video/tag.h"

struct weft_recipe {
    struct wf_mem *mem;
    char *path; /* of the clip */
    char *text;
    json_t *root;
};

/* --- opening --- */

static enum wf_status parse(struct weft_recipe *r, struct wf_error *err)
{
    r->root = json_loads(r->text, JSON_REJECT_DUPLICATES, NULL);
    if (json_is_object(r->root) && json_is_string(json_object_get(r->root, "weft")))
        return WF_OK;
    return wf_fail(err, WF_REFUSED,
                   "%s: it does not say how it was made; take a clip that weft wrote", r->path);
}

static enum wf_status open_recipe(struct weft_recipe *r, const char *clip, struct wf_error *err)
{
    r->path = wf_strdup(r->mem, clip);
    if (!r->path)
        return wf_fail_memory(err, clip, strlen(clip) + 1);
    WF_TRY(wf_tag_read(clip, r->mem, &r->text, err));
    return parse(r, err);
}

enum weft_status weft_recipe_open(const char *clip, struct weft_recipe **recipe, char *message,
                                  uint64_t room)
{
    struct wf_error err = {0};
    struct wf_mem *mem = wf_mem_open();
    struct weft_recipe *r = mem ? wf_calloc(mem, WF_MEM_MISC, 1, sizeof *r) : NULL;
    enum wf_status status = WF_OK;
    *recipe = NULL;
    if (!r) {
        wf_mem_close(&mem);
        status = wf_fail_memory(&err, "recipe", sizeof *r);
    } else {
        r->mem = mem;
        status = open_recipe(r, clip, &err);
        if (status == WF_OK)
            *recipe = r;
        else
            weft_recipe_close(&r);
    }
    if (room)
        snprintf(message, room, "%s", status == WF_OK ? "" : err.text);
    return (enum weft_status)status;
}

void weft_recipe_close(struct weft_recipe **recipe)
{
    struct weft_recipe *r = *recipe;
    if (!r)
        return;
    struct wf_mem *mem = r->mem;
    json_decref(r->root);
    wf_free(r->text);
    wf_free(r->path);
    wf_free(r);
    wf_mem_close(&mem);
    *recipe = NULL;
}

const char *weft_recipe_json(const struct weft_recipe *r)
{
    return r->text;
}

/* --- fields that are open; what is damaged stays open --- */

static const char *text_of(const struct weft_recipe *r, const char *key)
{
    return json_string_value(json_object_get(r->root, key));
}

static void fill_text(const struct weft_recipe *r, const char *key, const char **field)
{
    if (!*field)
        *field = text_of(r, key);
}

/* Of a field whose numbers begin at `least`. */
static void fill_int(const struct weft_recipe *r, const char *key, int least, int *field)
{
    const json_t *value = json_object_get(r->root, key);
    const json_int_t number = json_integer_value(value);
    if (*field < least && json_is_integer(value) && number >= least && number <= INT32_MAX)
        *field = (int)number;
}

static void fill_double(const struct weft_recipe *r, const char *key, bool is_open, double *field)
{
    const json_t *value = json_object_get(r->root, key);
    if (is_open && json_is_number(value))
        *field = json_number_value(value);
}

static void fill_pair(const struct weft_recipe *r, const char *key, char between, int least,
                      int *first, int *second)
{
    int a, b;
    char c, behind;
    const char *text = text_of(r, key);
    if (*first >= least || !text || sscanf(text, "%9d%c%9d%c", &a, &c, &b, &behind) != 3 ||
        c != between || a < least || b < least)
        return;
    *first = a;
    *second = b;
}

/* The number of a word among some; as it was, when it is none. */
static int choice(const struct weft_recipe *r, const char *key, const char *const *words, int count,
                  int is)
{
    const char *text = text_of(r, key);
    for (int i = 0; text && i < count; i++) {
        if (strcmp(words[i], text) == 0)
            return i;
    }
    return is;
}

void weft_recipe_settings(const struct weft_recipe *r, struct weft_settings *s)
{
    const char *device = text_of(r, "device");
    fill_text(r, "dtype", &s->dtype);
    fill_int(r, "threads", 1, &s->threads);
    if (s->device || s->device_map || !device)
        return;
    if (strchr(device, '='))
        s->device_map = device;
    else
        s->device = device;
}

void weft_recipe_output(const struct weft_recipe *r, struct weft_output *output)
{
    fill_text(r, "codec", &output->codec);
    fill_text(r, "preset", &output->preset);
    fill_text(r, "pix_fmt", &output->pix_fmt);
    fill_double(r, "crf", output->crf < 0, &output->crf);
}

static void fill_decoding(const struct weft_recipe *r, struct weft_request *q)
{
    static const char *const tilings[] = {[WEFT_TILING_AUTO] = "auto",
                                          [WEFT_TILING_NONE] = "none",
                                          [WEFT_TILING_EXACT] = "exact",
                                          [WEFT_TILING_BLEND] = "blend"};
    fill_int(r, "decode_chunk_size", 1, &q->decode_chunk_size);
    fill_int(r, "chunk_overlap", 0, &q->chunk_overlap);
    if (q->tiling != WEFT_TILING_AUTO)
        return;
    q->tiling = (enum weft_tiling)choice(r, "tiling", tilings, 4, WEFT_TILING_AUTO);
    fill_pair(r, "tile_size", 'x', 1, &q->tile_width, &q->tile_height);
    fill_pair(r, "tile_overlap", 'x', 0, &q->tile_overlap_width, &q->tile_overlap_height);
}

static void fill_seed(const struct weft_recipe *r, struct weft_request *q)
{
    unsigned long long seed;
    char behind;
    const char *text = text_of(r, "seed");
    if (!q->random_seed || !text || sscanf(text, "%20llu%c", &seed, &behind) != 1)
        return;
    q->seed = seed;
    q->random_seed = 0;
}

void weft_recipe_request(const struct weft_recipe *r, struct weft_request *q)
{
    static const char *const fits[] = {
        [WEFT_FIT_STRETCH] = "stretch", [WEFT_FIT_CROP] = "crop", [WEFT_FIT_PAD] = "pad"};
    fill_text(r, "prompt", &q->prompt);
    fill_text(r, "negative_prompt", &q->negative_prompt);
    fill_text(r, "generator", &q->generator);
    fill_int(r, "width", 1, &q->width);
    fill_int(r, "height", 1, &q->height);
    fill_int(r, "num_frames", 1, &q->num_frames);
    fill_int(r, "steps", 1, &q->steps);
    fill_int(r, "max_sequence_length", 1, &q->max_sequence_length);
    fill_int(r, "motion_bucket_id", 0, &q->motion_bucket_id);
    fill_double(r, "guidance_scale", q->guidance_scale < 0, &q->guidance_scale);
    fill_double(r, "min_guidance_scale", q->min_guidance_scale < 0, &q->min_guidance_scale);
    fill_double(r, "max_guidance_scale", q->max_guidance_scale < 0, &q->max_guidance_scale);
    fill_double(r, "noise_aug_strength", q->noise_aug_strength < 0, &q->noise_aug_strength);
    fill_double(r, "flow_shift", q->flow_shift == 0, &q->flow_shift);
    fill_pair(r, "fps", '/', 1, &q->fps_num, &q->fps_den);
    if (q->fit == WEFT_FIT_STRETCH)
        q->fit = (enum weft_fit)choice(r, "fit", fits, 3, WEFT_FIT_STRETCH);
    fill_seed(r, q);
    fill_decoding(r, q);
}

/* --- the model and the files --- */

static enum wf_status check_file(const struct weft_recipe *r, const char *key, const char *path,
                                 struct wf_error *err)
{
    char hash[WF_HASH_TEXT];
    const char *made_of = text_of(r, key);
    if (!made_of)
        return WF_OK;
    if (!path)
        return wf_fail(err, WF_REFUSED, "%s: it was made of a file; give it again by --%s", r->path,
                       key);
    WF_TRY(wf_identity_of_file(path, hash, err));
    if (strcmp(hash, made_of) == 0)
        return WF_OK;
    return wf_fail(err, WF_REFUSED, "%s: it was not made of %s, but of another file; give that one",
                   r->path, path);
}

static enum wf_status check_model(const struct weft_recipe *r, const struct weft_model *m,
                                  struct wf_error *err)
{
    char hash[WF_HASH_TEXT];
    const json_t *model = json_object_get(r->root, "model");
    const char *made_by = json_string_value(json_object_get(model, "hash"));
    const char *name = json_string_value(json_object_get(model, "name"));
    WF_TRY(wf_identity_of_model(m, hash, err));
    if (made_by && strcmp(hash, made_by) == 0)
        return WF_OK;
    return wf_fail(err, WF_REFUSED, "%s: it was not made by %s, but by another model (%.100s)",
                   r->path, m->folder, name ? name : "which it does not name");
}

enum weft_status weft_recipe_check(const struct weft_recipe *r, struct weft_job *job)
{
    struct wf_error *err = wf_job_error(job);
    enum wf_status status = check_model(r, job->model, err);
    if (status == WF_OK)
        status = check_file(r, "image", job->request.image, err);
    if (status == WF_OK)
        status = check_file(r, "latents", job->request.latents, err);
    return (enum weft_status)status;
}
