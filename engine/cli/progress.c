#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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

/* Columns that a line may fill; the last one is left free, where some terminals wrap. */
static int columns(void)
{
    enum { USUAL = 80, MOST = 120 };
    struct winsize size;
    const int wide =
        ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : USUAL;
    return (wide < MOST ? wide : MOST) - 1;
}

/* As much as there is room for: the bar goes first, then the times, then the end. */
static void show_bar(const struct cli *cli, const struct weft_progress *p)
{
    enum { ROOM = 160, LEAST = 6, WIDEST = 30 };
    char line[ROOM], times[64] = "", left[48] = "", bar[WIDEST + 4] = "", label[CLI_LABEL];
    const int room = columns();
    if (p->remaining_seconds > 0)
        snprintf(left, sizeof left, ", %.0f s left", ceil(p->remaining_seconds));
    snprintf(times, sizeof times, "  %.1f s%s", p->seconds, left);
    cli_label(cli, " ", label);
    const int counts = snprintf(line, sizeof line, "%s%-7s %d/%d", label, stage_names[p->stage],
                                p->done, p->total);
    const int rest = room - counts - (int)strlen(times) - 3; /* "[", "] " */
    const int width = rest < WIDEST ? rest : WIDEST;
    if (width >= LEAST) {
        const int filled = p->total ? (int)((long long)p->done * width / p->total) : 0;
        bar[0] = '[';
        memset(bar + 1, '.', (size_t)width);
        memset(bar + 1, '#', (size_t)filled);
        memcpy(bar + 1 + width, "] ", 3);
    }
    snprintf(line, sizeof line, "%s%-7s %s%d/%d%s", label, stage_names[p->stage], bar, p->done,
             p->total, rest + 3 >= 0 ? times : "");
    fprintf(stderr, "\r%-*.*s", room, room, line);
    fflush(stderr);
}

/* A line a step; of frames, which can be many, about ten. */
static void show_plain(const struct cli *cli, const struct weft_progress *p)
{
    char label[CLI_LABEL];
    const int every = p->stage == WEFT_STAGE_DECODE ? (p->total + 9) / 10 : 1;
    if (p->done == 0 || (p->done != p->total && p->done % every))
        return;
    cli_say("%s%s %d/%d, %.1f s", cli_label(cli, ": ", label), stage_names[p->stage], p->done,
            p->total, p->seconds);
}

static void show_json(const struct cli *cli, const struct weft_progress *p)
{
    fputc('{', stderr);
    if (cli_clips(cli) > 1)
        fprintf(stderr, "\"clip\": %d, \"clips\": %d, ", cli->clip + 1, cli_clips(cli));
    fprintf(stderr, "\"stage\": \"%s\", \"done\": %d, \"total\": %d, \"seconds\": %.3f}\n",
            stage_names[p->stage], p->done, p->total, p->seconds);
    fflush(stderr);
}

void cli_show_progress(void *context, const struct weft_progress *progress)
{
    switch (mode_of(context)) {
    case CLI_PROGRESS_BAR:
        show_bar(context, progress);
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

void cli_end_progress(const struct cli *cli)
{
    if (mode_of(cli) == CLI_PROGRESS_BAR)
        fprintf(stderr, "\r%*s\r", columns(), "");
}
