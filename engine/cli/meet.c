/* Whether files that the clips of one run write are one file. What meets within one clip, and the
   inputs, the library finds. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "engine/cli/names.h"

/* What a path leads to: a file or folder that is there (base "") or a name in a folder. */
struct place {
    dev_t device;
    ino_t inode;
    char *path;
    const char *base;
    dev_t folder_device; /* that it lies in */
    ino_t folder_inode;
    bool is_dump;
};

struct places {
    struct place *list;
    size_t count, room;
    bool no_memory;
};

static bool make_room(struct places *all)
{
    if (all->count < all->room)
        return true;
    const size_t room = all->room ? 2 * all->room : 64;
    struct place *list = realloc(all->list, room * sizeof *list);
    if (!list)
        return false;
    all->list = list;
    all->room = room;
    return true;
}

static bool look_at_folder(const char *path, size_t length, struct stat *info)
{
    char folder[CLI_PATH + 1] = ".";
    if (length)
        snprintf(folder, sizeof folder, "%.*s", (int)length, path);
    return stat(folder, info) == 0;
}

/* What cannot be there is not added: the library refuses it. Devices may be shared. */
static void add(struct places *all, const char *path, bool is_dump)
{
    struct stat info, folder;
    const char *slash = path ? strrchr(path, '/') : NULL;
    const size_t length = slash ? (size_t)(slash - path) + 1 : 0;
    if (!path || !look_at_folder(path, length, &folder))
        return;
    const bool there = stat(path, &info) == 0;
    if (there && S_ISCHR(info.st_mode))
        return;
    char *copy = make_room(all) ? strdup(path) : NULL;
    if (!copy) {
        all->no_memory = true;
        return;
    }
    if (!there)
        info = folder;
    all->list[all->count++] = (struct place){
        info.st_dev,   info.st_ino,   copy,   there ? copy + strlen(copy) : copy + length,
        folder.st_dev, folder.st_ino, is_dump};
}

static int compare(const void *left, const void *right)
{
    const struct place *a = left, *b = right;
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    if (a->inode != b->inode)
        return a->inode < b->inode ? -1 : 1;
    return strcmp(a->base, b->base);
}

static bool in_dump(const struct places *all, const struct place *p)
{
    const struct place folder = {.device = p->folder_device, .inode = p->folder_inode, .base = ""};
    const struct place *found = bsearch(&folder, all->list, all->count, sizeof folder, compare);
    return found && found->is_dump && !p->is_dump;
}

/* One line about the first that meets another. */
static bool tell(const struct cli *cli, const struct places *all)
{
    for (size_t i = 0; i < all->count; i++) {
        const struct place *p = &all->list[i];
        const bool twice = i + 1 < all->count && compare(p, p + 1) == 0;
        if (twice)
            cli_tell(cli, "error", "%s: two of the outputs would be this file; choose other names",
                     p->path);
        else if (in_dump(all, p))
            cli_tell(cli, "error", "%s: lies in the folder of a dump; choose another folder",
                     p->path);
        else
            continue;
        return true;
    }
    return false;
}

/* The names were made once, for each clip's own checks: what fails now is memory. */
static void add_output(const struct cli *cli, struct weft_engine *engine, const char *output,
                       int64_t frames, struct places *all)
{
    char name[CLI_PATH];
    if (!cli_names_frames(cli))
        add(all, output, false);
    for (int64_t i = 1; cli_names_frames(cli) && i <= frames; i++) {
        if (weft_clip_path(engine, output, 0, i, name, sizeof name) == WEFT_OK)
            add(all, name, false);
        else
            all->no_memory = true;
    }
}

static void add_clip(const struct cli *cli, struct weft_engine *engine, int clip, int64_t frames,
                     struct places *all)
{
    struct cli_names names;
    if (cli_name_clip(cli, engine, clip, &names) != WEFT_OK) {
        all->no_memory = true;
        return;
    }
    if (!cli_drops_frames(cli))
        add_output(cli, engine, names.output, frames, all);
    add(all, names.report, false);
    add(all, names.preview, false);
    add(all, names.dump, true);
}

enum weft_status cli_check_meeting(const struct cli *cli, struct weft_engine *engine,
                                   int64_t frames)
{
    struct places all = {0};
    enum weft_status status = WEFT_OK;
    for (int clip = 0; clip < cli_clips(cli); clip++)
        add_clip(cli, engine, clip, frames, &all);
    if (all.no_memory) {
        cli_tell(cli, "error", "output: the names of all clips do not fit into memory; make fewer");
        status = WEFT_FAILED;
    } else if (all.count) {
        qsort(all.list, all.count, sizeof *all.list, compare);
        status = tell(cli, &all) ? WEFT_REFUSED : WEFT_OK;
    }
    for (size_t i = 0; i < all.count; i++)
        free(all.list[i].path);
    free(all.list);
    return status;
}
