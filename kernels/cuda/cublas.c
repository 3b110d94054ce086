#include "kernels/cuda/cublas.h"

#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What an algorithm is chosen by. Filled in zeroed memory: compared byte by byte. */
struct key {
    int64_t m, n, k, batches, x_row, w_row, y_row, x_batch, w_batch, y_batch;
    int32_t type, y_type, in_rows, accumulate, gelu, has_bias;
    uint32_t x_align, w_align, y_align;
    uint32_t unused;
};

struct entry {
    struct entry *next;
    struct key key;
    bool takes; /* there is an algorithm */
    cublasComputeType_t compute;
    cublasLtMatmulAlgo_t algorithm;
};

struct wf_cublas {
    cublasLtHandle_t handle;
    struct entry *first;
    char text[160]; /* of the last failure */
};

enum wf_status wf_cublas_open(struct wf_cublas **cublas, struct wf_error *err)
{
    struct wf_cublas *c = calloc(1, sizeof *c);
    *cublas = NULL;
    if (!c)
        return wf_fail_memory(err, "cuda", sizeof *c);
    const cublasStatus_t code = cublasLtCreate(&c->handle);
    if (code != CUBLAS_STATUS_SUCCESS) {
        free(c);
        return wf_fail(err, WF_REFUSED, "device: cuBLASLt does not start: %s; use --device cpu",
                       cublasLtGetStatusString(code));
    }
    *cublas = c;
    return WF_OK;
}

void wf_cublas_close(struct wf_cublas **cublas)
{
    struct wf_cublas *c = *cublas;
    if (!c)
        return;
    for (struct entry *e = c->first, *next; e; e = next) {
        next = e->next;
        free(e);
    }
    (void)cublasLtDestroy(c->handle);
    free(c);
    *cublas = NULL;
}

/* Row-major matrices are read as the turned ones by columns: y^T = w x^T. */
struct call {
    cublasLtMatmulDescOpaque_t operation;
    cublasLtMatrixLayoutOpaque_t w, x, y;
};

static cudaDataType_t type_of(enum wf_dtype type)
{
    return type == WF_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static cublasStatus_t describe_matrix(cublasLtMatrixLayoutOpaque_t *layout, enum wf_dtype type,
                                      int64_t rows, int64_t columns, int64_t row, int64_t batches,
                                      int64_t batch)
{
    const int32_t count = (int32_t)batches;
    cublasStatus_t code =
        cublasLtMatrixLayoutInit(layout, type_of(type), (uint64_t)columns, (uint64_t)rows, row);
    if (code == CUBLAS_STATUS_SUCCESS)
        code = cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count,
                                                sizeof count);
    if (code == CUBLAS_STATUS_SUCCESS)
        code = cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET,
                                                &batch, sizeof batch);
    return code;
}

static cublasStatus_t describe_epilogue(struct call *call, const struct wf_cublas_gemm *a)
{
    const cublasLtEpilogue_t epilogue =
        a->gelu_tanh ? (a->bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU)
                     : (a->bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT);
    cublasStatus_t code = cublasLtMatmulDescSetAttribute(
        &call->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
    if (code == CUBLAS_STATUS_SUCCESS && a->bias)
        code = cublasLtMatmulDescSetAttribute(&call->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                                              &a->bias, sizeof a->bias);
    return code;
}

static cublasStatus_t describe(struct call *call, const struct wf_cublas_gemm *a,
                               cublasComputeType_t compute)
{
    const cublasOperation_t turned = a->in_rows ? CUBLAS_OP_N : CUBLAS_OP_T;
    const int64_t w_rows = a->in_rows ? a->k : a->n, w_columns = a->in_rows ? a->n : a->k;
    cublasStatus_t code = cublasLtMatmulDescInit(&call->operation, compute, CUDA_R_32F);
    if (code == CUBLAS_STATUS_SUCCESS)
        code = cublasLtMatmulDescSetAttribute(&call->operation, CUBLASLT_MATMUL_DESC_TRANSA,
                                              &turned, sizeof turned);
    if (code == CUBLAS_STATUS_SUCCESS)
        code = describe_epilogue(call, a);
    if (code == CUBLAS_STATUS_SUCCESS)
        code =
            describe_matrix(&call->w, a->type, w_rows, w_columns, a->w_row, a->batches, a->w_batch);
    if (code == CUBLAS_STATUS_SUCCESS)
        code = describe_matrix(&call->x, a->type, a->m, a->k, a->x_row, a->batches, a->x_batch);
    if (code == CUBLAS_STATUS_SUCCESS)
        code = describe_matrix(&call->y, a->y_type, a->m, a->n, a->y_row, a->batches, a->y_batch);
    return code;
}

static uint32_t alignment(const void *ptr)
{
    const uintptr_t low = (uintptr_t)ptr & 15;
    return low ? (uint32_t)(low & -low) : 16;
}

static struct key key_of(const struct wf_cublas_gemm *a)
{
    struct key key;
    memset(&key, 0, sizeof key);
    key.m = a->m;
    key.n = a->n;
    key.k = a->k;
    key.batches = a->batches;
    key.x_row = a->x_row;
    key.w_row = a->w_row;
    key.y_row = a->y_row;
    key.x_batch = a->x_batch;
    key.w_batch = a->w_batch;
    key.y_batch = a->y_batch;
    key.type = (int32_t)a->type;
    key.y_type = (int32_t)a->y_type;
    key.in_rows = a->in_rows;
    key.accumulate = a->accumulate;
    key.gelu = a->gelu_tanh;
    key.has_bias = a->bias != NULL;
    key.x_align = alignment(a->x);
    key.w_align = alignment(a->w);
    key.y_align = alignment(a->y);
    return key;
}

static cublasStatus_t prefer(cublasLtMatmulPreferenceOpaque_t *preference, const struct key *key,
                             uint64_t workspace)
{
    const struct {
        cublasLtMatmulPreferenceAttributes_t attribute;
        uint32_t bytes;
    } aligned[] = {{CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key->w_align},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key->x_align},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key->y_align},
                   {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key->y_align}};
    cublasStatus_t code = cublasLtMatmulPreferenceInit(preference);
    if (code == CUBLAS_STATUS_SUCCESS)
        code = cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    /* Parts of a sum are added in f32, never in y's type. */
    const uint32_t sums = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    if (code == CUBLAS_STATUS_SUCCESS)
        code = cublasLtMatmulPreferenceSetAttribute(
            preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &sums, sizeof sums);
    for (size_t i = 0; i < sizeof aligned / sizeof *aligned && code == CUBLAS_STATUS_SUCCESS; i++)
        code = cublasLtMatmulPreferenceSetAttribute(preference, aligned[i].attribute,
                                                    &aligned[i].bytes, sizeof aligned[i].bytes);
    return code;
}

static void choose(struct wf_cublas *c, const struct wf_cublas_gemm *a, struct entry *e)
{
    struct call call;
    cublasLtMatmulPreferenceOpaque_t preference;
    cublasLtMatmulHeuristicResult_t found;
    int count = 0;
    if (describe(&call, a, e->compute) != CUBLAS_STATUS_SUCCESS ||
        prefer(&preference, &e->key, a->workspace_bytes) != CUBLAS_STATUS_SUCCESS)
        return;
    e->takes = cublasLtMatmulAlgoGetHeuristic(c->handle, &call.operation, &call.w, &call.x, &call.y,
                                              &call.y, &preference, 1, &found,
                                              &count) == CUBLAS_STATUS_SUCCESS &&
               count == 1 && found.state == CUBLAS_STATUS_SUCCESS;
    e->algorithm = found.algo;
}

/* NULL: memory is short. */
static const struct entry *find(const struct wf_cublas_gemm *a)
{
    struct wf_cublas *c = a->cublas;
    const struct key key = key_of(a);
    for (struct entry *e = c->first; e; e = e->next) {
        if (memcmp(&e->key, &key, sizeof key) == 0)
            return e;
    }
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->key = key;
    e->compute = a->type == WF_F32 ? CUBLAS_COMPUTE_32F_PEDANTIC : CUBLAS_COMPUTE_32F;
    choose(c, a, e);
    if (!e->takes && e->compute == CUBLAS_COMPUTE_32F_PEDANTIC) {
        e->compute = CUBLAS_COMPUTE_32F; /* no TF32 in it either */
        choose(c, a, e);
    }
    e->next = c->first;
    c->first = e;
    return e;
}

bool wf_cublas_takes(const struct wf_cublas_gemm *args)
{
    const struct entry *e = find(args);
    return e && e->takes;
}

static int fail(const struct wf_cublas_gemm *a, cublasStatus_t code)
{
    snprintf(a->cublas->text, sizeof a->cublas->text,
             "cuBLASLt: %s, a product of [%lld,%lld] and [%lld,%lld], %lld of them",
             cublasLtGetStatusString(code), (long long)a->m, (long long)a->k, (long long)a->n,
             (long long)a->k, (long long)a->batches);
    return WF_CUBLAS_SAID;
}

const char *wf_cublas_text(const struct wf_cublas *cublas)
{
    return cublas->text;
}

int wf_cublas_launch(const void *args, void *stream)
{
    const struct wf_cublas_gemm *a = args;
    const struct entry *e = find(a);
    const float beta = a->accumulate ? 1 : 0;
    struct call call;
    if (!e || !e->takes || describe(&call, a, e->compute) != CUBLAS_STATUS_SUCCESS)
        return fail(a, CUBLAS_STATUS_INVALID_VALUE);
    const cublasStatus_t code = cublasLtMatmul(
        a->cublas->handle, &call.operation, &a->alpha, a->w, &call.w, a->x, &call.x, &beta, a->y,
        &call.y, a->y, &call.y, &e->algorithm, a->workspace, a->workspace_bytes, stream);
    return code == CUBLAS_STATUS_SUCCESS ? 0 : fail(a, code);
}
