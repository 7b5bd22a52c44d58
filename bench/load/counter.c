/* The load generator. `counter PLAN` reads one command a line from standard input and answers with
 * JSON lines. Between commands it goes on answering pings. */
#include "counter.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void run(const char *line) {
    char word[32] = "";
    double x = 0, y = 0, z = 0, v = 0, w = 0;
    sscanf(line, "%31s %lf %lf %lf %lf %lf", word, &x, &y, &z, &v, &w);
    if (!strcmp(word, "connect")) mode_connect((int)x, y);
    else if (!strcmp(word, "fanout")) mode_fanout((int)x, y, z);
    else if (!strcmp(word, "chat")) mode_chat(x, y, z);
    else if (!strcmp(word, "crowd")) mode_crowd(x, y, z);
    else if (!strcmp(word, "acked")) mode_acked((int)x, y, z);
    else if (!strcmp(word, "paced")) mode_paced(x, y, z);
    else if (!strcmp(word, "burst")) mode_burst((int)x, y);
    else if (!strcmp(word, "hold")) mode_hold(x);
    else if (!strcmp(word, "quiet")) mode_quiet(x);
    else if (!strcmp(word, "counts")) mode_counts();
    else if (!strcmp(word, "drop")) mode_drop();
    else if (!strcmp(word, "runs")) mode_runs(x, y, z, v, w);
    else if (!strcmp(word, "rest")) mode_rest(x);
    else if (!strcmp(word, "quit")) exit(0);
    else {
        printf("{\"event\":\"error\",\"message\":\"unknown command\"}\n");
        fflush(stdout);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: counter PLAN\n");
        return 2;
    }
    plan_read(argv[1]);
    loop_init();
    static char line[256];
    size_t have = 0;
    for (;;) {
        struct pollfd in = {.fd = 0, .events = POLLIN};
        if (poll(&in, 1, 0) > 0) {
            ssize_t n = read(0, line + have, sizeof line - 1 - have);
            if (n <= 0) return 0; /* whoever drove us is gone */
            have += (size_t)n;
            line[have] = 0;
            char *end;
            while ((end = strchr(line, '\n'))) {
                *end = 0;
                run(line);
                have -= (size_t)(end + 1 - line);
                memmove(line, end + 1, have + 1);
            }
        }
        loop_turn(5);
    }
}
