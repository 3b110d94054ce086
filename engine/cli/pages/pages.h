/* What is installed beside the program and says what the tables of verbs and options say. */
#ifndef WEFT_ENGINE_CLI_PAGES_PAGES_H
#define WEFT_ENGINE_CLI_PAGES_PAGES_H

/* Each goes to standard output. date: of the manual page, YYYY-MM-DD. */
void pages_manual(const char *date);
void pages_completion(void);

#endif
