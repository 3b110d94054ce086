/* Making a plan while memory is short: each call of cuDNN fails once, and each failure is told and
   leaves nothing behind. The linker puts the functions below in cuDNN's place (--wrap). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <cudnn_backend.h>

#include "tests/gpus.h"

static struct {
    int calls, fails_at; /* 0: none */
    int live;            /* descriptors */
    int search_at;       /* the call that begins to look for engines */
} seen;

static bool fails(void)
{
    return ++seen.calls == seen.fails_at;
}

#define WRAPPED(name, parameters)                                                                  \
    cudnnStatus_t __real_##name parameters;                                                        \
    cudnnStatus_t __wrap_##name parameters;                                                        \
    cudnnStatus_t __wrap_##name parameters

WRAPPED(cudnnBackendCreateDescriptor,
        (cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *d))
{
    if (fails())
        return CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED;
    if (type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR && !seen.search_at)
        seen.search_at = seen.calls;
    const cudnnStatus_t status = __real_cudnnBackendCreateDescriptor(type, d);
    seen.live += status == CUDNN_STATUS_SUCCESS;
    return status;
}

WRAPPED(cudnnBackendDestroyDescriptor, (cudnnBackendDescriptor_t d))
{
    assert_non_null(d);
    seen.live--;
    return __real_cudnnBackendDestroyDescriptor(d);
}

WRAPPED(cudnnBackendSetAttribute,
        (cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
         cudnnBackendAttributeType_t type, int64_t count, const void *values))
{
    return fails() ? CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED
                   : __real_cudnnBackendSetAttribute(d, name, type, count, values);
}

WRAPPED(cudnnBackendGetAttribute,
        (cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
         cudnnBackendAttributeType_t type, int64_t most, int64_t *count, void *values))
{
    return fails() ? CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED
                   : __real_cudnnBackendGetAttribute(d, name, type, most, count, values);
}

WRAPPED(cudnnBackendFinalize, (cudnnBackendDescriptor_t d))
{
    return fails() ? CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED
                   : __real_cudnnBackendFinalize(d);
}

static struct wf_error err;

static void begin(int fails_at)
{
    seen.calls = seen.search_at = 0;
    seen.fails_at = fails_at;
    memset(&err, 0, sizeof err);
}

static void opening(void **state)
{
    (void)state;
    struct wf_graphs *graphs;
    int n = 0;
    do {
        begin(++n);
        const enum wf_status status = gpu_open_for(&gpus[GPU_H100], &graphs, &err);
        assert_int_equal(status, n > seen.calls ? WF_OK : WF_FAILED);
        assert_int_equal(graphs != NULL, status == WF_OK);
        wf_graphs_close(&graphs);
        assert_int_equal(seen.live, 0);
    } while (n <= seen.calls);
    assert_true(n > 3);
}

static void convolution(void **state)
{
    (void)state;
    const struct wf_graph_conv conv = some_conv();
    struct wf_graphs *graphs;
    struct wf_graph_plan *plan;
    int n = 0;
    begin(0);
    assert_int_equal(gpu_open_for(&gpus[GPU_H100], &graphs, &err), WF_OK);
    const int opened = seen.live;
    do {
        begin(++n);
        const enum wf_status status = wf_graph_conv(graphs, &conv, &plan);
        assert_int_equal(status, n > seen.calls ? WF_OK : WF_FAILED);
        assert_int_equal(plan != NULL, status == WF_OK);
        assert_int_equal(seen.live, opened + (status == WF_OK));
        assert_int_equal(err.text[0] != '\0', status != WF_OK);
    } while (n <= seen.calls);
    assert_true(n > 100);
    wf_graphs_close(&graphs);
    assert_int_equal(seen.live, 0);
}

/* As far as it costs little: a found engine compiles. */
static void attention(void **state)
{
    (void)state;
    struct wf_graph_attention shape = some_attention(64);
    struct wf_graphs *graphs;
    struct wf_graph_plan *plan;
    shape.has_key_bias = true;
    begin(0);
    assert_int_equal(gpu_open_for(&gpus[GPU_H100], &graphs, &err), WF_OK);
    const int opened = seen.live;
    int n = 0;
    do {
        begin(++n);
        assert_int_equal(wf_graph_attention(graphs, &shape, &plan), WF_FAILED);
        assert_null(plan);
        assert_int_equal(seen.live, opened);
    } while (!seen.search_at);
    assert_true(n > 200);
    wf_graphs_close(&graphs);
    assert_int_equal(seen.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening),
        cmocka_unit_test(convolution),
        cmocka_unit_test(attention),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
