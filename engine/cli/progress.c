#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "engine/cli/cli.h"

static const char *const stage_names[] = {"encode", "denoise", "decode", "write"};

/* A terminal that cannot go back to a line's start gets lines. */
static bool has_bar(void)
{
    const char *term = getenv("TERM");
    return isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") != 0;
}

static enum cli_progress mode_of(const struct cli *cli)
{
    if (cli->progress != CLI_PROGRESS_AUTO)
        return (enum cli_progress)cli->progress;
    return has_bar() ? CLI_PROGRESS_BAR : CLI_PROGRESS_PLAIN;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Columns that a line may fill; the last one is left free, where some terminals wrap. */
static int columns(void)
{
    enum { USUAL = 80, MOST = 120 };
    struct winsize size;
    const int wide =
        ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : USUAL;
    return (wide < MOST ? wide : MOST) - 1;
}

enum { PART = 32 };

/* "2:05 left" */
static void tell_left(double seconds, char out[PART])
{
    const double whole = ceil(seconds);
    const long long s = whole < 1e9 ? (long long)whole : 0, hours = s / 3600, minutes = s / 60 % 60;
    out[0] = '\0';
    if (hours)
        snprintf(out, PART, "%lld:%02lld:%02lld left", hours, minutes, s % 60);
    else if (minutes)
        snprintf(out, PART, "%lld:%02lld left", minutes, s % 60);
    else if (s > 0)
        snprintf(out, PART, "%lld s left", s);
}

static void tell_pace(const struct weft_progress *p, char out[PART])
{
    const double seconds = p->unit_seconds;
    const bool brief = seconds < 0.1;
    out[0] = '\0';
    if (seconds > 0 && seconds < 1e9)
        snprintf(out, PART, "%.*f %s/%s", brief || seconds >= 1 ? 1 : 2,
                 seconds * (brief ? 1000 : 1), brief ? "ms" : "s",
                 p->stage == WEFT_STAGE_DENOISE ? "step" : "frame");
}

static void tell_memory(const struct weft_progress *p, char out[PART])
{
    const double bytes = (double)p->peak_bytes;
    out[0] = '\0';
    if (p->peak_bytes)
        snprintf(out, PART, "peak %.1f %s", bytes * (bytes < 1e9 ? 1e-6 : 1e-9),
                 bytes < 1e9 ? "MB" : "GB");
}

/* What there is room for, the first of it first, ", " between. */
static void join_parts(char parts[][PART], int count, int room, char *out)
{
    int used = 0;
    out[0] = '\0';
    for (int i = 0; i < count; i++) {
        const int more = (int)strlen(parts[i]) + 2;
        if (more == 2 || used + more > room)
            continue;
        used += sprintf(out + used, "%s%s", used ? ", " : "  ", parts[i]);
    }
}

/* One bar over all stages: which one it is and how far, then the bar, then as much as there is room
   for of the rest, what matters most first. The bar's own length depends on the terminal alone. */
static void show_bar(const char *label, const char *name, const struct weft_progress *p)
{
    enum { ROOM = 160, LEAST = 6, WIDEST = 30, PARTS = 4, HEAD = 96 };
    char head[HEAD], rest[ROOM] = "", bar[WIDEST + 3] = "", digits[16], parts[PARTS][PART];
    const int room = columns();
    const int wide = snprintf(digits, sizeof digits, "%d", p->total);
    const int used =
        snprintf(head, sizeof head, "%s%-7s %*d/%d ", label, name, wide, p->done, p->total);
    int width = (room - used) / 3;
    width = width < LEAST ? LEAST : width > WIDEST ? WIDEST : width;
    if (used + width + 2 <= room) {
        const int filled = (int)(fmin(fmax(p->fraction, 0), 1) * width);
        bar[0] = '[';
        memset(bar + 1, '.', (size_t)width);
        memset(bar + 1, '#', (size_t)filled);
        bar[1 + width] = ']';
        tell_left(p->remaining_seconds, parts[0]);
        tell_pace(p, parts[1]);
        tell_memory(p, parts[2]);
        snprintf(parts[3], PART, "%.1f s", p->seconds);
        join_parts(parts, PARTS, room - used - width - 2, rest);
    }
    const int tail = room - (used < room ? used : room); /* what stood there is written over */
    fprintf(stderr, "\r%.*s%s%-*.*s", room, head, bar, *bar ? tail - width - 2 : tail,
            *bar ? tail - width - 2 : tail, rest);
    fflush(stderr);
}

/* A line a step; of frames, which can be many, about ten. */
static void show_plain(const struct cli *cli, const struct weft_progress *p)
{
    char label[CLI_LABEL];
    const int every = p->stage == WEFT_STAGE_DECODE ? (p->total + 9) / 10 : 1;
    if (p->done == 0 || (p->done != p->total && p->done % every))
        return;
    char pace[PART];
    tell_pace(p, pace);
    cli_say("%s%s %d/%d, %.1f s%s%s", cli_label(cli, ": ", label), stage_names[p->stage], p->done,
            p->total, p->seconds, *pace ? ", " : "", pace);
}

/* null where it is not known. */
static void show_json_seconds(const char *key, bool known, double seconds)
{
    if (known)
        fprintf(stderr, ", \"%s\": %.3f", key, seconds);
    else
        fprintf(stderr, ", \"%s\": null", key);
}

static void show_json(const struct cli *cli, const struct weft_progress *p)
{
    fputc('{', stderr);
    if (cli_clips(cli) > 1)
        fprintf(stderr, "\"clip\": %d, \"clips\": %d, ", cli->clip + 1, cli_clips(cli));
    fprintf(stderr, "\"stage\": \"%s\", \"done\": %d, \"total\": %d, \"seconds\": %.3f",
            stage_names[p->stage], p->done, p->total, p->seconds);
    fprintf(stderr, ", \"fraction\": %.4f, \"frames\": %d, \"peak_bytes\": %llu", p->fraction,
            p->stage == WEFT_STAGE_DECODE ? p->done : 0, (unsigned long long)p->peak_bytes);
    show_json_seconds("remaining_seconds", p->remaining_seconds >= 0, p->remaining_seconds);
    show_json_seconds("unit_seconds", p->unit_seconds > 0, p->unit_seconds);
    fputs("}\n", stderr);
    fflush(stderr);
}

void cli_show_progress(void *context, const struct weft_progress *progress)
{
    char label[CLI_LABEL];
    switch (mode_of(context)) {
    case CLI_PROGRESS_BAR:
        show_bar(cli_label(context, " ", label), stage_names[progress->stage], progress);
        break;
    case CLI_PROGRESS_PLAIN:
        show_plain(context, progress);
        break;
    case CLI_PROGRESS_JSON:
        show_json(context, progress);
        break;
    default:
        break;
    }
}

/* Of the frames that still wait for the encoder. */
void cli_show_writing(const struct cli *cli)
{
    char label[CLI_LABEL];
    const struct weft_progress p = {
        .stage = WEFT_STAGE_WRITE, .total = 1, .fraction = 1, .remaining_seconds = -1};
    if (mode_of(cli) == CLI_PROGRESS_BAR)
        show_bar(cli_label(cli, " ", label), stage_names[p.stage], &p);
}

void cli_show_compared(const struct cli *cli, const struct weft_compared_frame *frame)
{
    enum { TIMES = 200 }; /* that the bar is drawn, at most: frames can be many and quick */
    const int64_t done = frame->index + 1, every = (frame->frames + TIMES - 1) / TIMES;
    if (mode_of(cli) != CLI_PROGRESS_BAR || (done % every && done != frame->frames))
        return;
    const double seconds = now() - cli->began, pace = seconds / (double)done;
    const struct weft_progress p = {.stage = WEFT_STAGE_DECODE,
                                    .done = (int)done,
                                    .total = (int)frame->frames,
                                    .seconds = seconds,
                                    .fraction = (double)done / (double)frame->frames,
                                    .unit_seconds = pace,
                                    .remaining_seconds = pace * (double)(frame->frames - done)};
    show_bar("", "compare", &p);
}

void cli_begin_progress(struct cli *cli)
{
    cli->began = now();
}

void cli_end_progress(const struct cli *cli)
{
    if (mode_of(cli) == CLI_PROGRESS_BAR)
        fprintf(stderr, "\r%*s\r", columns(), "");
}
