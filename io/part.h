/* The temporary file that an output is until it is whole: BASE.PID-N.part beside it. Its writer
   holds a lock on it, so that a later run can tell one that was left behind from one in use. */
#ifndef WEFT_IO_PART_H
#define WEFT_IO_PART_H

#include <stdbool.h>
#include <stddef.h>

enum { WF_PART_ROOM = 272 }; /* that a part's name is longer than its target's, at most */

/* Makes and locks one for target, for reading and writing; its path in part, of room bytes. The
   descriptor, or -1 with errno. */
int wf_part_open(const char *target, char *part, size_t room);

/* Gives it its name. Without overwrite a file that came under that name meanwhile stays: -1 with
   EEXIST. */
int wf_part_rename(const char *part, const char *target, bool overwrite);

/* Gives it the first free one of NAME-2.EXT, NAME-3.EXT, ..., in kept, of room bytes. False where
   none can be given. */
bool wf_part_keep(const char *part, const char *target, char *kept, size_t room);

/* Removes the parts of a target that nobody holds: their writer was killed. number_at and
   number_end: where a number stands in the target's path, for any of a series; else both 0. */
void wf_part_sweep(const char *target, size_t number_at, size_t number_end);

#endif
