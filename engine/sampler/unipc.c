/* diffusers' UniPCMultistepScheduler on flow sigmas: a predictor (UniP) and a corrector (UniC) that
   reuse the earlier model outputs (Zhao et al. 2023, arXiv:2302.04867). With alpha = 1 - sigma and
   lambda = ln alpha - ln sigma, every update is a linear combination of the last sample and the
   model outputs, whose coefficients are computed here in double. */
#include <math.h>
#include <string.h>

#include "engine/sampler/driver.h"
#include "engine/sampler/spacing.h"

enum { MAX_ORDER = 3 };

struct unipc {
    struct wf_sampler base;
    struct wf_shift shift;
    int64_t order;                             /* 1 to 3 */
    bool bh1;                                  /* B(h) = h instead of e^h - 1 */
    bool lower_order_final;                    /* the last steps are of lower order */
    bool final_sigma_min;                      /* the last sigma again instead of 0 */
    int64_t uncorrected[WF_SAMPLER_MAX_STEPS]; /* steps without a corrector after them */
    int uncorrected_count;

    /* The last sample, the model outputs, newest first, and room for one that comes. */
    struct wf_backend *be; /* that they are on; NULL: there are none yet */
    struct wf_tensor kept[MAX_ORDER + 2];
    int last_order; /* of the last predictor */
};

static enum wf_status must_be(const struct wf_json *config, const char *key, const char *value,
                              struct wf_error *err)
{
    const char *found = "missing";
    WF_TRY(wf_json_string(config, key, &found, err));
    if (strcmp(found, value) != 0)
        return wf_fail(err, WF_REFUSED, "%s: %s is %s; weft supports %s", config->path, key, found,
                       value);
    return WF_OK;
}

static enum wf_status refuse_unsupported(const struct wf_json *config, struct wf_error *err)
{
    static const char *const off[] = {"use_dynamic_shifting", "thresholding", "use_karras_sigmas",
                                      "use_beta_sigmas", "use_exponential_sigmas"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        WF_TRY(wf_sampler_must_be_off(config, off[i], err));
    bool flow = false, x0 = true;
    WF_TRY(wf_json_bool(config, "use_flow_sigmas", &flow, err));
    WF_TRY(wf_json_bool(config, "predict_x0", &x0, err));
    if (!flow || !x0)
        return wf_fail(err, WF_REFUSED, "%s: %s is false; weft supports true", config->path,
                       flow ? "predict_x0" : "use_flow_sigmas");
    const json_t *solver = json_object_get(config->root, "solver_p");
    if (solver && !json_is_null(solver))
        return wf_fail(err, WF_REFUSED, "%s: solver_p is set; weft supports null", config->path);
    return must_be(config, "prediction_type", "flow_prediction", err);
}

/* diffusers reads three names of other solvers as bh2. */
static enum wf_status read_solver(struct unipc *s, const struct wf_json *config,
                                  struct wf_error *err)
{
    static const char *const known[] = {"bh1", "bh2", "midpoint", "heun", "logrho"};
    const char *name = "bh2";
    WF_TRY(wf_json_string(config, "solver_type", &name, err));
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i], name) == 0) {
            s->bh1 = i == 0;
            return WF_OK;
        }
    }
    return wf_fail(err, WF_REFUSED, "%s: solver_type is %s; weft knows bh1 and bh2", config->path,
                   name);
}

/* At the last step h is infinite (final sigma 0) or 0 (the last sigma again). Some solvers then
   multiply infinity by zero or solve a singular system, in diffusers too. */
static enum wf_status check_last_step(const struct unipc *s, const struct wf_json *config,
                                      struct wf_error *err)
{
    const int64_t most = s->final_sigma_min ? 2 : 1; /* order without lower_order_final */
    if (s->bh1 && !s->final_sigma_min)
        return wf_fail(
            err, WF_REFUSED,
            "%s: solver_type bh1 has no finite last step with final_sigmas_type zero; use "
            "bh2",
            config->path);
    if (!s->lower_order_final && s->order > most)
        return wf_fail(
            err, WF_REFUSED,
            "%s: solver_order %lld has no finite last step with lower_order_final false; "
            "set it to true",
            config->path, (long long)s->order);
    return WF_OK;
}

static enum wf_status configure(struct wf_sampler *base, const struct wf_json *config,
                                double flow_shift, struct wf_error *err)
{
    static const char *const finals[] = {"zero", "sigma_min", NULL};
    struct unipc *s = (struct unipc *)base;
    int final = 0;
    base->prediction = WF_PREDICT_FLOW;
    s->order = 2;
    s->lower_order_final = true;
    WF_TRY(refuse_unsupported(config, err));
    WF_TRY(read_solver(s, config, err));
    WF_TRY(wf_shift_read(config, "flow_shift", flow_shift, &s->shift, err));
    WF_TRY(wf_json_int(config, "solver_order", 1, MAX_ORDER, &s->order, err));
    WF_TRY(wf_json_bool(config, "lower_order_final", &s->lower_order_final, err));
    WF_TRY(wf_sampler_choose(config, "final_sigmas_type", finals, &final, err));
    const json_t *uncorrected = json_object_get(config->root, "disable_corrector");
    if (!json_is_array(uncorrected) || json_array_size(uncorrected))
        WF_TRY(wf_json_ints(config, "disable_corrector", 0, INT32_MAX, WF_SAMPLER_MAX_STEPS,
                            s->uncorrected, &s->uncorrected_count, err));
    s->final_sigma_min = final == 1;
    return check_last_step(s, config, err);
}

/* Two steps of one sigma are no way apart in lambda, which divides; and it is finite between 1 and
 * 0.
 */
static enum wf_status check_apart(const struct wf_sampler *base, struct wf_error *err)
{
    double before = 1;
    for (int i = 0; i < base->steps; i++) {
        const double sigma = (double)base->sigma[i];
        if (!(sigma < before && sigma > 0))
            return wf_fail(err, WF_REFUSED,
                           "scheduler: of %d steps number %d has noise of %.9g after %.9g, which "
                           "must fall; choose fewer steps, or a flow_shift and shift_terminal that "
                           "keep them apart",
                           base->steps, i + 1, sigma, before);
        before = sigma;
    }
    return WF_OK;
}

/* In the order of operations of numpy's linspace: the timestep is cut to an integer, so that the
   last bit of sigma can matter. */
static enum wf_status tables(struct wf_sampler *base, struct wf_error *err)
{
    struct unipc *s = (struct unipc *)base;
    const int steps = base->steps;
    const double train = (double)base->train_timesteps;
    const double stride = (1 / train - 1) / steps;
    double sigma[WF_SAMPLER_MAX_STEPS];
    for (int i = 0; i < steps; i++)
        sigma[i] = wf_shift_apply(&s->shift, i * stride + 1);
    wf_shift_stretch(&s->shift, sigma, steps);
    if (fabs(sigma[0] - 1) < 1e-6)
        sigma[0] -= 1e-6; /* lambda is infinite at 1 */
    for (int i = 0; i < steps; i++) {
        base->timestep[i] = trunc(sigma[i] * train);
        base->sigma[i] = (float)sigma[i];
    }
    base->sigma[steps] = s->final_sigma_min ? base->sigma[steps - 1] : 0;
    s->last_order = 0;
    return check_apart(base, err);
}

static double lambda(const struct unipc *s, int step)
{
    const double sigma = (double)s->base.sigma[step];
    return log(1 - sigma) - log(sigma);
}

/* Solves the n x n system a x = b in place by elimination with pivots; n is at most 3. */
static void solve(int n, double a[MAX_ORDER][MAX_ORDER], double *b)
{
    for (int col = 0; col < n; col++) {
        int pivot = col;
        for (int row = col + 1; row < n; row++) {
            if (fabs(a[row][col]) > fabs(a[pivot][col]))
                pivot = row;
        }
        for (int j = 0; j < n; j++) {
            const double swap = a[col][j];
            a[col][j] = a[pivot][j];
            a[pivot][j] = swap;
        }
        const double swap = b[col];
        b[col] = b[pivot];
        b[pivot] = swap;
        for (int row = col + 1; row < n; row++) {
            const double factor = a[row][col] / a[col][col];
            for (int j = col; j < n; j++)
                a[row][j] -= factor * a[col][j];
            b[row] -= factor * b[col];
        }
    }
    for (int row = n - 1; row >= 0; row--) {
        for (int j = row + 1; j < n; j++)
            b[row] -= a[row][j] * b[j];
        b[row] /= a[row][row];
    }
}

/* The weights rho of the differences D_k, k = 1 .. unknowns, of an update whose nodes are
   r[0..order-1]: sum_k rho_k r_k^(i-1) = b_i, b_i = i! phi_(i+1)(hh) hh / B (equation 9 of the
   paper). */
static void solve_weights(int order, int unknowns, const double *r, double hh, double b_h,
                          double *rho)
{
    double a[MAX_ORDER][MAX_ORDER];
    double phi = expm1(hh) / hh - 1, factorial = 1;
    for (int i = 0; i < order; i++) {
        if (i < unknowns) {
            for (int k = 0; k < unknowns; k++)
                a[i][k] = pow(r[k], i);
            rho[i] = phi * factorial / b_h;
        }
        factorial *= i + 2;
        phi = phi / hh - 1 / factorial;
    }
    solve(unknowns, a, rho);
}

/* One update from step `from` to step `to`: the coefficients of the sample, of model outputs
   m_0 (at from), m_1 .. m_(order-1) (before it), and, for the corrector, of the output at `to`. */
struct update {
    double sample, model[MAX_ORDER], target;
};

static struct update make_update(const struct unipc *s, int from, int to, int order, bool corrector)
{
    const double sigma_to = (double)s->base.sigma[to], alpha_to = 1 - sigma_to;
    struct update u = {.sample = sigma_to / (double)s->base.sigma[from]};
    if (sigma_to == 0) { /* h is infinite: the sample is the model's own estimate */
        u.model[0] = 1;
        return u;
    }
    const double h = lambda(s, to) - lambda(s, from);
    const double growth = expm1(-h), b_h = s->bh1 ? -h : growth;
    double r[MAX_ORDER], rho[MAX_ORDER] = {0.5, 0.5, 0.5};
    for (int k = 1; k < order; k++)
        r[k - 1] = (lambda(s, from - k) - lambda(s, from)) / h;
    r[order - 1] = 1;
    if (corrector && order > 1)
        solve_weights(order, order, r, -h, b_h, rho);
    else if (!corrector && order > 2)
        solve_weights(order, order - 1, r, -h, b_h, rho);

    u.model[0] = -alpha_to * growth;
    for (int k = 1; k < order; k++) {
        u.model[k] = -alpha_to * b_h * rho[k - 1] / r[k - 1];
        u.model[0] -= u.model[k];
    }
    if (corrector) {
        u.target = -alpha_to * b_h * rho[order - 1];
        u.model[0] -= u.target;
    }
    return u;
}

static enum wf_status apply(struct unipc *s, struct wf_backend *be, const struct update *u,
                            int order, struct wf_tensor sample, const struct wf_tensor *target,
                            struct wf_tensor y)
{
    struct wf_lincomb a = {.x = {sample}, .c = {(float)u->sample}, .terms = 1, .y = y};
    for (int k = 0; k < order; k++) {
        a.x[a.terms] = s->kept[1 + k];
        a.c[a.terms++] = (float)u->model[k];
    }
    if (target) {
        a.x[a.terms] = *target;
        a.c[a.terms++] = (float)u->target;
    }
    return wf_lincomb(be, &a);
}

static bool corrects(const struct unipc *s, int step)
{
    for (int i = 0; i < s->uncorrected_count; i++) {
        if (s->uncorrected[i] == step - 1)
            return false;
    }
    return step > 0;
}

static enum wf_status keep_buffers(struct unipc *s, struct wf_backend *be,
                                   const struct wf_tensor *like)
{
    const size_t bytes = wf_tensor_bytes(like);
    if (s->be)
        return WF_OK;
    s->be = be;
    for (int i = 0; i < (int)s->order + 2; i++) {
        void *data = be->ops.take(be, WF_MEM_CACHE, bytes);
        if (!data)
            return wf_fail_memory(be->err, "sampler", bytes);
        s->kept[i] = wf_tensor_of(data, like->dtype, like->rank, like->dim);
        /* Those of later steps are written to files before they are first used. */
        WF_TRY(wf_copy(be, &(struct wf_copy){.y = s->kept[i], .x = *like}));
    }
    return WF_OK;
}

static void end(struct wf_sampler *base)
{
    struct unipc *s = (struct unipc *)base;
    for (int i = 0; i < MAX_ORDER + 2; i++) {
        if (s->kept[i].data)
            s->be->ops.give(s->be, s->kept[i].data);
        s->kept[i] = (struct wf_tensor){0};
    }
    s->be = NULL;
}

/* Of the predictor of step i. */
static int order_at(const struct unipc *s, int i)
{
    int order = (int)s->order;
    if (s->lower_order_final && order > s->base.steps - i)
        order = s->base.steps - i;
    return order > i + 1 ? i + 1 : order;
}

static int kept(const struct wf_sampler *base, struct wf_tensor *tensors, int room)
{
    const struct unipc *s = (const struct unipc *)base;
    int count = 0;
    while (count < room && count < MAX_ORDER + 2 && s->kept[count].data) {
        tensors[count] = s->kept[count];
        count++;
    }
    return count;
}

static enum wf_status go_on(struct wf_sampler *base, struct wf_backend *be, int steps,
                            struct wf_tensor like)
{
    struct unipc *s = (struct unipc *)base;
    s->last_order = order_at(s, steps - 1);
    return keep_buffers(s, be, &like);
}

/* kept: [0] the last sample, [1 ..] model outputs, newest first; the oldest makes room for the new
   one, which stays in `velocity`'s estimate until the corrector is done. */
static enum wf_status step(struct wf_sampler *base, struct wf_backend *be, int i,
                           struct wf_tensor velocity, struct wf_tensor latents)
{
    struct unipc *s = (struct unipc *)base;
    WF_TRY(keep_buffers(s, be, &latents));
    const int count = (int)s->order + 1;
    const struct wf_tensor estimate = s->kept[count]; /* x0 = x - sigma v */
    WF_TRY(wf_lincomb(
        be, &(struct wf_lincomb){
                .x = {latents, velocity}, .c = {1, -base->sigma[i]}, .terms = 2, .y = estimate}));
    if (corrects(s, i)) {
        const struct update u = make_update(s, i - 1, i, s->last_order, true);
        WF_TRY(apply(s, be, &u, s->last_order, s->kept[0], &estimate, latents));
    }
    for (int k = count; k > 1; k--)
        s->kept[k] = s->kept[k - 1];
    s->kept[1] = estimate;

    const int order = order_at(s, i);
    WF_TRY(wf_copy(be, &(struct wf_copy){.y = s->kept[0], .x = latents}));
    const struct update u = make_update(s, i, i + 1, order, false);
    s->last_order = order;
    return apply(s, be, &u, order, s->kept[0], NULL, latents);
}

const struct wf_sampler_driver wf_sampler_unipc = {
    .class_name = "UniPCMultistepScheduler",
    .keys = "num_train_timesteps beta_start beta_end beta_schedule trained_betas solver_order "
            "prediction_type thresholding dynamic_thresholding_ratio sample_max_value predict_x0 "
            "solver_type lower_order_final disable_corrector solver_p use_karras_sigmas "
            "use_exponential_sigmas use_beta_sigmas use_flow_sigmas flow_shift timestep_spacing "
            "steps_offset final_sigmas_type rescale_betas_zero_snr use_dynamic_shifting "
            "time_shift_type sigma_min sigma_max shift_terminal",
    .bytes = sizeof(struct unipc),
    .configure = configure,
    .tables = tables,
    .step = step,
    .kept = kept,
    .go_on = go_on,
    .end = end,
};
