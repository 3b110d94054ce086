/* Opening and reading files that come from outside: only regular files, sizes known before use. */
#ifndef WEFT_IO_FILE_H
#define WEFT_IO_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "kernels/base/mem.h"
#include "kernels/base/status.h"

/* A descriptor that open gave, or -1: 0, 1 and 2 are exchanged for a higher one. A program that was
   started with one of those closed would else write its messages into its data. -1 with errno. */
int wf_file_above_standard(int fd);

/* Bytes of a path that come before the file's own name: 0, or up to and with the last slash. */
size_t wf_path_folder(const char *path);
/* The folder that a path lies in, "." where it names none; false when that has no room. */
bool wf_path_copy_folder(const char *path, char *folder, size_t room);

/* False when nothing has that name. What cannot be looked at (no permission, a circle of links, the
   disk) is there: what opens it says why it cannot. */
bool wf_file_is_there(const char *path);

/* The folder that a folder lies in, which need not be there, however many slashes its name ends
   with; false when that has no room. */
bool wf_path_parent(const char *folder, char *parent, size_t room);

/* Whether two paths, however they are spelled or linked, lead to one file or pipe: one that is
   there, or one that would be made. "-" is standard output. Devices may be shared. */
bool wf_file_same(const char *a, const char *b);

/* Files by what they are, not by their names: those that a run reads. Zeroed: empty. */
struct wf_file_set {
    struct wf_file_id {
        dev_t device;
        ino_t inode;
    } * ids; /* to be freed with wf_free */
    size_t count, room;
};

/* Adds a regular file; of a folder the .json, .safetensors and .model in it and its folders. What
   is not there is not added. */
enum wf_status wf_file_set_add(struct wf_file_set *set, const char *path, struct wf_mem *mem,
                               struct wf_error *err);
enum wf_status wf_file_set_add_id(struct wf_file_set *set, struct wf_file_id id, struct wf_mem *mem,
                                  struct wf_error *err);
bool wf_file_set_has(const struct wf_file_set *set, const char *path);

/* Opens a regular file (symbolic links are followed) for reading; WF_REFUSED for anything else,
   such as a folder or a pipe. *fd is to be closed by the caller. */
enum wf_status wf_file_open(const char *path, int *fd, uint64_t *bytes, struct wf_error *err);

/* The whole of a regular file of at most limit bytes, with a NUL after the last, which *bytes does
   not count. *data is to be freed with free. WF_REFUSED when it is longer or cannot be read. */
enum wf_status wf_file_read(const char *path, size_t limit, char **data, size_t *bytes,
                            struct wf_error *err);

#endif
