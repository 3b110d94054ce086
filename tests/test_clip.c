/* The sample model does what the prompt says: draws prompts at random, generates the clips through
   weft.h, and measures colour, direction and shape over the clip and in its first frame, and in
   every frame the outline: one shape alone, inside of the picture, circles round, edges straight.

       test_clip [CLIPS [SEED [MODEL]]] */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/weft.h"

enum { COLORS = 5, SHAPES = 3, DIRECTIONS = 4, COMBINATIONS = COLORS * SHAPES * DIRECTIONS };
enum { CIRCLE, SQUARE, TRIANGLE };
enum { LEFT, RIGHT, UP, DOWN };

static const char *const color_names[COLORS] = {"red", "green", "blue", "yellow", "white"};
static const char *const shape_names[SHAPES] = {"circle", "square", "triangle"};
static const char *const direction_names[DIRECTIONS] = {"left", "right", "up", "down"};
static const float bright = 0.45f; /* the ground is darker, every colour's largest part brighter */
static const double quarter = 0.25, pi = 3.14159265358979;
/* Overlap of a shape with the ideal one: a circle pressed to 5/6 of its height is below it. */
static const double least_fit = 0.88;

struct task {
    int color, shape, direction;
    char prompt[64];
    uint64_t seed;
};

/* What one frame shows. */
struct look {
    double x, y, area, rgb[3];
    double margin;      /* pixels between the shape and the picture's edge */
    double rest;        /* what is bright and not of the shape, as part of its area */
    double fit[SHAPES]; /* intersection over union with the ideal shape of this centre and area */
};

struct verdict {
    int color, shape, direction, first, outline;
};

/* --- looking at a frame --- */

static double largest(const float *pixel)
{
    return (double)fmaxf(fmaxf(pixel[0], pixel[1]), pixel[2]);
}

static int is_inside(int shape, double dx, double dy, double area)
{
    if (shape == CIRCLE)
        return dx * dx + dy * dy < area / pi;
    if (shape == SQUARE)
        return fmax(fabs(dx), fabs(dy)) < sqrt(area) / 2;
    const double half = sqrt(area / 2); /* as wide as high, the apex up; the centre lies lower */
    const double down = dy + half / 3;
    return down < half && half + down > 2 * fabs(dx);
}

/* Marks the connected bright region around `start` in mask, and nothing else; returns its size. */
static int flood(const struct weft_frame *frame, int start, unsigned char *mask, int *stack)
{
    const int w = frame->width, h = frame->height;
    int depth = 0, count = 0;
    memset(mask, 0, (size_t)w * (size_t)h);
    mask[start] = 1;
    stack[depth++] = start;
    while (depth > 0) {
        const int at = stack[--depth], x = at % w, y = at / w;
        const int next[4] = {x > 0 ? at - 1 : at, x < w - 1 ? at + 1 : at, y > 0 ? at - w : at,
                             y < h - 1 ? at + w : at};
        count++;
        for (int k = 0; k < 4; k++) {
            if (!mask[next[k]] && largest(frame->rgb + 3 * next[k]) > (double)bright) {
                mask[next[k]] = 1;
                stack[depth++] = next[k];
            }
        }
    }
    return count;
}

/* Marks the largest bright region in mask and all of them in seen; -1 when there is none of a size
   worth the name. */
static int find_region(const struct weft_frame *frame, unsigned char *mask, unsigned char *seen,
                       int *stack)
{
    const int pixels = frame->width * frame->height;
    int best = -1, most = 59;
    memset(seen, 0, (size_t)pixels);
    for (int i = 0; i < pixels; i++) {
        if (seen[i] || largest(frame->rgb + 3 * i) <= (double)bright)
            continue;
        const int count = flood(frame, i, mask, stack);
        for (int j = 0; j < pixels; j++)
            seen[j] |= mask[j];
        if (count > most) {
            most = count;
            best = i;
        }
    }
    if (best >= 0)
        flood(frame, best, mask, stack);
    return best;
}

static void measure(const struct weft_frame *frame, const unsigned char *mask,
                    const unsigned char *seen, struct look *out)
{
    const int w = frame->width, h = frame->height, pixels = w * h;
    *out = (struct look){.margin = pixels};
    for (int i = 0; i < pixels; i++) {
        out->rest += seen[i] && !mask[i];
        if (!mask[i])
            continue;
        const int x = i % w, y = i / w;
        out->margin = fmin(out->margin, fmin(fmin(x, w - 1 - x), fmin(y, h - 1 - y)));
        out->area++;
        out->x += x;
        out->y += y;
        for (int c = 0; c < 3; c++)
            out->rgb[c] += (double)frame->rgb[3 * i + c];
    }
    out->x /= out->area;
    out->y /= out->area;
    out->rest /= out->area;
    for (int c = 0; c < 3; c++)
        out->rgb[c] /= out->area;
    for (int shape = 0; shape < SHAPES; shape++) {
        int both = 0, either = 0;
        for (int i = 0; i < pixels; i++) {
            const int ideal = is_inside(shape, i % w - out->x, i / w - out->y, out->area);
            both += ideal && mask[i];
            either += ideal || mask[i];
        }
        out->fit[shape] = (double)both / either;
    }
}

/* White has no hue; the others are told apart by it. */
static int color_of(const double rgb[3])
{
    const double high = fmax(fmax(rgb[0], rgb[1]), rgb[2]);
    const double low = fmin(fmin(rgb[0], rgb[1]), rgb[2]);
    if (high - low < 0.3 * high)
        return 4;
    double hue; /* in sixths of the circle */
    if (high == rgb[0])
        hue = (rgb[1] - rgb[2]) / (high - low);
    else if (high == rgb[1])
        hue = 2 + (rgb[2] - rgb[0]) / (high - low);
    else
        hue = 4 + (rgb[0] - rgb[1]) / (high - low);
    static const double hues[] = {0, 2, 4, 1};
    int best = 0;
    for (int i = 1; i < 4; i++) {
        if (fabs(remainder(hue - hues[i], 6)) < fabs(remainder(hue - hues[best], 6)))
            best = i;
    }
    return best;
}

static int best_shape(const double fit[SHAPES])
{
    int best = 0;
    for (int i = 1; i < SHAPES; i++)
        best = fit[i] > fit[best] ? i : best;
    return best;
}

/* --- judging a clip --- */

/* A shape that is here in one frame and there in the next has not moved. */
static double longest_step(const struct look *looks, int count)
{
    double longest = 0;
    for (int i = 1; i < count; i++)
        longest = fmax(longest, hypot(looks[i].x - looks[i - 1].x, looks[i].y - looks[i - 1].y));
    return longest;
}

static struct verdict judge(const struct task *task, const struct look *looks, int count, int width,
                            int height)
{
    const struct look *first = looks, *last = looks + count - 1;
    const double dx = last->x - first->x, dy = last->y - first->y;
    double fit[SHAPES] = {0};
    struct verdict v = {.color = 1, .outline = 1};
    for (int i = 0; i < count; i++) {
        v.color &= color_of(looks[i].rgb) == task->color;
        v.outline &=
            looks[i].fit[task->shape] > least_fit && looks[i].rest < 0.05 && looks[i].margin >= 1;
        for (int k = 0; k < SHAPES; k++)
            fit[k] += looks[i].fit[k] / count;
    }
    v.shape = best_shape(fit) == task->shape;
    v.first = color_of(first->rgb) == task->color && best_shape(first->fit) == task->shape;
    const int seen = fabs(dx) > fabs(dy) ? (dx < 0 ? LEFT : RIGHT) : (dy < 0 ? UP : DOWN);
    const double moved = seen < UP ? fabs(dx) / width : fabs(dy) / height;
    v.direction = seen == task->direction && moved > quarter &&
                  longest_step(looks, count) < quarter * fmin(width, height);
    printf("%-34s seed %-6llu colour %s, direction %s (%.2f of the side), shape %s (%.3f), first "
           "frame %s (%.3f), outline %s\n",
           task->prompt, (unsigned long long)task->seed, v.color ? "ok" : "WRONG",
           v.direction ? "ok" : "WRONG", moved, v.shape ? "ok" : "WRONG", fit[task->shape],
           v.first ? "ok" : "WRONG", first->fit[task->shape], v.outline ? "ok" : "WRONG");
    fflush(stdout);
    return v;
}

struct bench {
    struct weft_engine *engine;
    struct weft_model *model;
    struct look *looks;
    unsigned char *mask, *seen;
    int *stack;
    int frames;
};

/* Looks at every frame of a job; the number seen, -1 when the engine failed or a frame is empty. */
static int watch(struct bench *b, struct weft_job *job)
{
    struct weft_frame frame;
    for (int count = 0;; count++) {
        if (weft_job_next(job, &frame) != WEFT_OK) {
            printf("%s\n", weft_engine_error(b->engine));
            return -1;
        }
        if (!frame.rgb || count == b->frames)
            return count;
        if (find_region(&frame, b->mask, b->seen, b->stack) < 0) {
            printf("frame %d shows nothing\n", count);
            return -1;
        }
        measure(&frame, b->mask, b->seen, &b->looks[count]);
    }
}

static struct verdict try_task(struct bench *b, const struct task *task)
{
    struct weft_request request;
    struct weft_job *job = NULL;
    struct verdict v = {0};
    weft_request_defaults(b->model, &request);
    request.prompt = task->prompt;
    request.seed = task->seed;
    request.random_seed = 0;
    if (weft_generate(b->model, &request, &job) != WEFT_OK)
        printf("%s\n", weft_engine_error(b->engine));
    else if (watch(b, job) == b->frames)
        v = judge(task, b->looks, b->frames, request.width, request.height);
    else
        printf("%s: no clip to measure\n", task->prompt);
    weft_job_close(&job);
    return v;
}

/* --- drawing prompts --- */

static uint32_t draw(uint64_t *state, uint32_t below)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

/* No combination twice before all have been drawn; every other prompt is of the plain form. */
static struct task next_task(int index, int order[COMBINATIONS], uint64_t *state)
{
    const int at = index % COMBINATIONS;
    if (at == 0) {
        for (int i = 0; i < COMBINATIONS; i++)
            order[i] = i;
        for (int i = COMBINATIONS - 1; i > 0; i--) {
            const int other = (int)draw(state, (uint32_t)i + 1), swap = order[i];
            order[i] = order[other];
            order[other] = swap;
        }
    }
    const int k = order[at];
    struct task task = {.color = k % COLORS,
                        .shape = k / COLORS % SHAPES,
                        .direction = k / COLORS / SHAPES,
                        .seed = draw(state, 1000000)};
    const char *color = color_names[task.color], *shape = shape_names[task.shape];
    const char *direction = direction_names[task.direction];
    switch (index % 2 ? draw(state, 4) : 0) {
    case 0:
        snprintf(task.prompt, sizeof task.prompt, "a %s %s moves %s", color, shape, direction);
        break;
    case 1:
        snprintf(task.prompt, sizeof task.prompt, "the %s %s is moving %s", color, shape,
                 direction);
        break;
    case 2:
        snprintf(task.prompt, sizeof task.prompt, "A %s %s goes %s.", color, shape, direction);
        break;
    default:
        snprintf(task.prompt, sizeof task.prompt, "%s %s moving %s", color, shape, direction);
    }
    return task;
}

/* At least `share` of the clips, and always one may fail. */
static int enough(const char *what, int right, int clips, double share)
{
    const int may_fail = (int)fmax(1, floor(clips * (1 - share) + 1e-9));
    const int good = right >= clips - may_fail;
    printf("%s: %d of %d%s\n", what, right, clips, good ? "" : ", too few");
    return good;
}

static int try_all(struct bench *b, int clips, uint64_t seed)
{
    struct verdict sum = {0};
    int order[COMBINATIONS];
    uint64_t state = seed;
    for (int i = 0; i < clips; i++) {
        const struct task task = next_task(i, order, &state);
        const struct verdict v = try_task(b, &task);
        sum.color += v.color;
        sum.direction += v.direction;
        sum.shape += v.shape;
        sum.first += v.first;
        sum.outline += v.outline;
    }
    return enough("colour", sum.color, clips, 0.95) &
           enough("direction", sum.direction, clips, 0.95) &
           enough("shape", sum.shape, clips, 0.90) & enough("first frame", sum.first, clips, 0.75) &
           enough("outline", sum.outline, clips, 0.90);
}

static int open_bench(struct bench *b, const char *folder)
{
    struct weft_request request;
    if (weft_engine_open(NULL, &b->engine) != WEFT_OK ||
        weft_model_open(b->engine, folder, NULL, &b->model) != WEFT_OK) {
        printf("%s\n", weft_engine_error(b->engine));
        return 0;
    }
    weft_request_defaults(b->model, &request);
    const size_t pixels = (size_t)request.width * (size_t)request.height;
    b->frames = request.num_frames;
    b->looks = calloc((size_t)b->frames, sizeof *b->looks);
    b->mask = calloc(pixels, 1);
    b->seen = calloc(pixels, 1);
    b->stack = calloc(pixels, sizeof *b->stack);
    return b->looks && b->mask && b->seen && b->stack;
}

static void close_bench(struct bench *b)
{
    free(b->looks);
    free(b->mask);
    free(b->seen);
    free(b->stack);
    weft_model_close(&b->model);
    weft_engine_close(&b->engine);
}

int main(int argc, char **argv)
{
    char folder[4096];
    struct bench b = {0};
    const char *source = getenv("WEFT_SOURCE_DIR");
    const int clips = argc > 1 ? atoi(argv[1]) : 12;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 20261;
    snprintf(folder, sizeof folder, "%s/samples/shapes", source ? source : ".");
    printf("%d clips, seed %llu\n", clips, (unsigned long long)seed);
    const int good = open_bench(&b, argc > 3 ? argv[3] : folder) && try_all(&b, clips, seed);
    close_bench(&b);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
