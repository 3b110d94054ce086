#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/cli/cli.h"

static const char *const stage_names[] = {"encode", "denoise", "decode", "write"};

static enum cli_progress mode_of(const struct cli *cli)
{
    if (cli->progress != CLI_PROGRESS_AUTO)
        return (enum cli_progress)cli->progress;
    return isatty(STDERR_FILENO) ? CLI_PROGRESS_BAR : CLI_PROGRESS_PLAIN;
}

static void show_bar(const struct weft_progress *p)
{
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    const int filled = p->total ? (int)((long long)p->done * WIDTH / p->total) : 0;
    memset(bar, '.', WIDTH);
    memset(bar, '#', (size_t)filled);
    bar[WIDTH] = '\0';
    fprintf(stderr, "\r\033[K%-7s [%s] %d/%d  %.1f s", stage_names[p->stage], bar, p->done,
            p->total, p->seconds);
    if (p->remaining_seconds > 0)
        fprintf(stderr, ", %.0f s left", ceil(p->remaining_seconds));
    fflush(stderr);
}

/* A line a step; of frames, which can be many, about ten. */
static void show_plain(const struct weft_progress *p)
{
    const int every = p->stage == WEFT_STAGE_DECODE ? (p->total + 9) / 10 : 1;
    if (p->done == 0 || (p->done != p->total && p->done % every))
        return;
    cli_say("%s %d/%d, %.1f s", stage_names[p->stage], p->done, p->total, p->seconds);
}

static void show_json(const struct weft_progress *p)
{
    fprintf(stderr, "{\"stage\": \"%s\", \"done\": %d, \"total\": %d, \"seconds\": %.3f}\n",
            stage_names[p->stage], p->done, p->total, p->seconds);
    fflush(stderr);
}

void cli_show_progress(void *context, const struct weft_progress *progress)
{
    switch (mode_of(context)) {
    case CLI_PROGRESS_BAR:
        show_bar(progress);
        break;
    case CLI_PROGRESS_PLAIN:
        show_plain(progress);
        break;
    case CLI_PROGRESS_JSON:
        show_json(progress);
        break;
    default:
        break;
    }
}

void cli_end_progress(const struct cli *cli)
{
    if (mode_of(cli) == CLI_PROGRESS_BAR)
        fputs("\r\033[K", stderr);
}
