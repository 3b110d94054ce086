#include "engine/cli/names.h"

#include <string.h>
#include <strings.h>

bool cli_names_frames(const struct cli *cli)
{
    const char *dot = cli->output.path ? strrchr(cli->output.path, '.') : NULL;
    if (cli->output.format)
        return strcmp(cli->output.format, "png") == 0;
    return dot && strcasecmp(dot, ".png") == 0;
}

static enum weft_status expand(const struct cli *cli, struct weft_engine *engine,
                               const char *pattern, bool frames, int clip, char room[CLI_PATH],
                               const char **name)
{
    *name = pattern;
    if (!pattern || !cli->num_videos)
        return WEFT_OK;
    const enum weft_status status = weft_clip_path(engine, pattern, frames, clip, room, CLI_PATH);
    if (status == WEFT_OK)
        *name = room;
    return status == WEFT_REFUSED && cli->num_videos == 1 ? WEFT_OK : status;
}

/* A folder's name may end with a slash, which would leave it none of its own. */
static enum weft_status expand_folder(const struct cli *cli, struct weft_engine *engine, int clip,
                                      char room[CLI_PATH], const char **name)
{
    char folder[CLI_PATH];
    const char *dump = cli->request.dump;
    size_t length = dump ? strlen(dump) : 0;
    while (length > 1 && dump[length - 1] == '/')
        length--;
    if (length == 0 || length >= sizeof folder)
        return expand(cli, engine, dump, false, clip, room, name);
    memcpy(folder, dump, length);
    folder[length] = '\0';
    const enum weft_status status = expand(cli, engine, folder, false, clip, room, name);
    if (*name == folder)
        *name = dump;
    return status;
}

enum weft_status cli_name_clip(const struct cli *cli, struct weft_engine *engine, int clip,
                               struct cli_names *names)
{
    enum weft_status status = WEFT_OK;
    names->output = cli->output.path;
    if (!cli_drops_frames(cli)) /* else the path is not looked at */
        status = expand(cli, engine, cli->output.path, cli_names_frames(cli), clip, names->room[0],
                        &names->output);
    if (status == WEFT_OK)
        status = expand(cli, engine, cli->report, false, clip, names->room[1], &names->report);
    if (status == WEFT_OK)
        status = expand_folder(cli, engine, clip, names->room[2], &names->dump);
    if (status == WEFT_OK)
        status =
            expand(cli, engine, cli->request.preview, false, clip, names->room[3], &names->preview);
    return status;
}
