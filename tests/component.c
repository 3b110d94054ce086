#include "tests/component.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/compare.h"

enum wf_status component_open(struct desk *desk, const char *folder, const char *base,
                              struct component_place place, struct component *c)
{
    const struct wf_policy policy = {.offload = place.offload};
    const int threads = getenv("WEFT_TEST_THREADS") ? atoi(getenv("WEFT_TEST_THREADS")) : 2;
    *c = (struct component){0};
    WF_TRY(wf_backend_open(place.device, place.dtype, threads, desk->mem, desk->mem, &desk->err,
                           &c->be));
    wf_arena_init(&c->arena, wf_backend_source(c->be));
    WF_TRY(wf_checkpoint_open(folder, base, NULL, desk->mem, &c->ckpt, &desk->err));
    return wf_residency_open(policy, c->ckpt, c->be, desk->mem, &c->weights, &desk->err);
}

void component_close(struct component *c)
{
    wf_residency_close(&c->weights);
    wf_checkpoint_close(&c->ckpt);
    if (c->be)
        wf_arena_close(&c->arena);
    wf_backend_close(&c->be);
}

static struct array read_file(struct desk *desk, const char *file)
{
    struct array a;
    const char *name = strrchr(file, '/') + 1;
    assert_true(array_read(desk_fixture(desk, "%s.safetensors", file), name, &a));
    return a;
}

struct wf_tensor component_input(struct desk *desk, struct component *c, const char *file)
{
    struct wf_tensor t = {0};
    struct array a = read_file(desk, file);
    int64_t dims[8];
    for (int i = 0; i < a.rank; i++)
        dims[i] = a.dim[i];
    assert_int_equal(wf_tensor_new(&c->arena, WF_F32, &t, &desk->err, a.rank, dims), WF_OK);
    assert_int_equal(wf_upload(c->be, t, a.data), WF_OK);
    array_free(&a);
    return t;
}

double component_distance(struct desk *desk, struct component *c, struct wf_tensor t,
                          const char *file)
{
    struct array a = read_file(desk, file);
    float *values = malloc(wf_tensor_bytes(&t));
    assert_non_null(values);
    assert_int_equal(a.rank, t.rank);
    for (int i = 0; i < a.rank; i++)
        assert_int_equal(a.dim[i], t.dim[i]);
    assert_int_equal(wf_download(c->be, values, t), WF_OK);
    const double distance = relative_l2(values, a.data, a.count);
    free(values);
    array_free(&a);
    return distance;
}

static char *read_text(const char *path)
{
    static char text[4096];
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return text;
}

static void write_config(const struct desk *desk, const char *text, const char *key,
                         const char *value)
{
    char path[128];
    const char *at = strstr(text, key);
    assert_non_null(at);
    const char *from = strchr(at, ':') + 1;
    const char *to = from + strspn(from, " [");
    to += strcspn(to, to > from + 1 ? "]" : ",\n"); /* an array's end, or a number's */
    to += *to == ']';
    snprintf(path, sizeof path, "%s/config.json", desk->folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "%.*s %s%s", (int)(from - text), text, value, to);
    assert_int_equal(fclose(f), 0);
}

void component_mend(struct desk *desk, const char *fixture, const char *weights, const char *key,
                    const char *value)
{
    char path[128];
    write_config(desk, read_text(desk_fixture(desk, "%s/config.json", fixture)), key, value);
    snprintf(path, sizeof path, "%s/%s.safetensors", desk->folder, weights);
    if (access(path, R_OK) != 0)
        assert_int_equal(symlink(desk_fixture(desk, "%s/%s.safetensors", fixture, weights), path),
                         0);
}
