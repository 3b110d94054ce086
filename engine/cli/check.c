/* Whether what was asked for goes together. */
#include <string.h>

#include "engine/cli/option.h"

int cli_check_words(struct cli *cli)
{
    const struct cli_verb *verb = cli->verb;
    int want = 0;
    while (want < CLI_WORDS - 1 && verb->word[want].name)
        want++;
    cli->model = cli->word[0];
    cli->latents = want > 1 ? cli->word[1] : NULL;
    cli->comparison.reference = cli->word[0];
    cli->comparison.clip = cli->word[1];
    if (cli->words < want)
        cli_say("usage: the %s is missing; see --help", verb->word[cli->words].noun);
    else if (cli->words > want)
        cli_say("usage: %s is one word too many; see --help", cli->word[want]);
    return cli->words == want ? CLI_OK : CLI_REFUSED;
}

bool cli_drops_frames(const struct cli *cli)
{
    return cli->output.format && strcmp(cli->output.format, "null") == 0;
}

/* What several clips cannot share. */
static int check_videos(const struct cli *cli)
{
    const struct weft_request *r = &cli->request;
    const int more = cli_clips(cli) - 1;
    if (more == 0)
        return CLI_OK;
    if (r->latents)
        cli_say("--latents: gives all %d clips the same noise; use --seed, or make them one by one",
                more + 1);
    else if (!r->random_seed && r->seed > UINT64_MAX - (uint64_t)more)
        cli_say(
            "--seed: %llu is too large for %d clips, whose seeds follow it; choose a smaller one",
            (unsigned long long)r->seed, more + 1);
    else if (cli->output.path && !cli_drops_frames(cli) && strcmp(cli->output.path, "-") == 0)
        cli_say("--output: nobody could tell %d clips in one stream apart; name a file for each, "
                "like clip-%%02d.mp4",
                more + 1);
    else if (r->resume)
        cli_say("--resume: the folder holds one clip's state; make the %d clips one by one",
                more + 1);
    else if (cli->report && strcmp(cli->report, "-") == 0)
        cli_say("--report: each of %d clips has one of its own; name them like report-%%02d.json",
                more + 1);
    else
        return CLI_OK;
    return CLI_REFUSED;
}

static int check_clip(const struct cli *cli)
{
    if (!(cli->verb->bit & (CLI_GENERATE | CLI_DECODE)))
        return CLI_OK;
    if (cli->json && !cli->plan) {
        cli_say("--json: goes with --plan, or with info; leave it away");
        return CLI_REFUSED;
    }
    if (!cli->output.path && !cli_drops_frames(cli) && !cli->plan) {
        cli_say("usage: the output is missing; give -o FILE, or --format null to drop the frames");
        return CLI_REFUSED;
    }
    return check_videos(cli);
}

/* A batch has its outputs in its file. */
int cli_check_jobs(const struct cli *cli)
{
    if (!cli->output.path && !cli->request.resume && !cli->report)
        return CLI_OK;
    cli_say("--jobs: each request names its own output, report and resume; leave them away here");
    return CLI_REFUSED;
}

/* Files that are read here, and not by the engine, are not to be written over either. */
static void keep_files(struct cli *cli)
{
    const char *const files[] = {cli->read[0], cli->read[1], cli->like, cli->batch};
    int kept = 0;
    memset(cli->keep, 0, sizeof cli->keep);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (files[i])
            cli->keep[kept++] = files[i];
    }
    cli->output.keep = cli->keep;
}

int cli_check(struct cli *cli)
{
    keep_files(cli);
    return cli_take_recipe(cli) == CLI_OK ? check_clip(cli) : CLI_REFUSED;
}
