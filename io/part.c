#include "io/part.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"

enum {
    BASE = 200, /* of the file's own name, so that the temporary one is not too long */
    EXTENSION = 32,
    NAMES_TRIED = 100,
    PATH = 4096,
};

static bool is_linked(int fd)
{
    struct stat info;
    return fstat(fd, &info) != 0 || info.st_nlink > 0;
}

/* Locks are advisory, and some file systems have none: then it is not held, and nobody who looks
   for what was left behind gets a lock either. False when it was taken for one of those before it
   was locked: it is removed, or will be. */
static bool hold(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return false;
    return is_linked(fd);
}

int wf_part_open(const char *target, char *part, size_t room)
{
    const size_t folder = wf_path_folder(target);
    int fd = -1;
    for (int i = 0; i < NAMES_TRIED; i++) {
        snprintf(part, room, "%.*s%.*s.%ld-%d.part", (int)folder, target, BASE, target + folder,
                 (long)getpid(), i);
        fd = wf_file_above_standard(open(part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666));
        if (fd >= 0 && hold(fd))
            return fd;
        if (fd >= 0)
            close(fd);
        else if (errno != EEXIST)
            return -1;
    }
    errno = EEXIST;
    return -1;
}

int wf_part_rename(const char *part, const char *target, bool overwrite)
{
    if (!overwrite) {
        if (renameat2(AT_FDCWD, part, AT_FDCWD, target, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EINVAL && errno != ENOSYS) /* those: a file system that cannot do it */
            return -1;
        struct stat info;
        if (lstat(target, &info) == 0) {
            errno = EEXIST;
            return -1;
        }
    }
    return rename(part, target);
}

bool wf_part_keep(const char *part, const char *target, char *kept, size_t room)
{
    const size_t folder = wf_path_folder(target);
    const char *base = target + folder, *dot = strrchr(base, '.');
    const char *extension =
        dot && dot != base && strlen(dot) <= EXTENSION ? dot : base + strlen(base);
    const size_t most = NAME_MAX - strlen("-999") - strlen(extension);
    const size_t stem = (size_t)(extension - base) < most ? (size_t)(extension - base) : most;
    for (int i = 2; i < 1000; i++) {
        const int used =
            snprintf(kept, room, "%.*s-%d%s", (int)(folder + stem), target, i, extension);
        if (used < 0 || (size_t)used >= room)
            return false;
        if (wf_part_rename(part, kept, false) == 0)
            return true;
        if (errno != EEXIST)
            return false;
    }
    return false;
}

/* --- what was left behind --- */

/* The rest of text behind a number, or NULL where there is none. */
static const char *skip_number(const char *text)
{
    const size_t digits = text ? strspn(text, "0123456789") : 0;
    return digits ? text + digits : NULL;
}

static const char *skip(const char *text, const char *word, size_t length)
{
    return text && strncmp(text, word, length) == 0 ? text + length : NULL;
}

/* Whether a name is that of a part: the base (a number in it standing for any), .PID-N.part */
static bool is_part(const char *name, const char *base, size_t number_at, size_t number_end)
{
    const char *rest = name;
    if (number_end) {
        rest = skip(rest, base, number_at);
        rest = skip_number(rest);
        base += number_end;
    }
    rest = skip(rest, base, strlen(base));
    rest = skip(rest, ".", 1);
    rest = skip_number(rest);
    rest = skip(rest, "-", 1);
    rest = skip_number(rest);
    return rest && strcmp(rest, ".part") == 0;
}

static void remove_unheld(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat info;
    if (fd < 0)
        return;
    if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
        is_linked(fd))
        (void)unlink(path);
    close(fd);
}

void wf_part_sweep(const char *target, size_t number_at, size_t number_end)
{
    char folder[PATH], path[PATH];
    const size_t length = wf_path_folder(target);
    if (strlen(target + length) > BASE || !wf_path_copy_folder(target, folder, sizeof folder))
        return;
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    for (const struct dirent *d; (d = readdir(dir));) {
        if (!is_part(d->d_name, target + length, number_end ? number_at - length : 0,
                     number_end ? number_end - length : 0))
            continue;
        if (snprintf(path, sizeof path, "%.*s%s", (int)length, target, d->d_name) <
            (int)sizeof path)
            remove_unheld(path);
    }
    closedir(dir);
}
