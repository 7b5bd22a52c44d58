/* Reads a plan: what to connect to, what to send, what to count. One directive a line, TAB between
 * fields, so that JSON needs no escaping. Written by plan.py, which documents the directives. */
#include "counter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct plan plan = {.sources = 8, .ready_class = NO_CLASS, .count_class = NO_CLASS, .ack_class = NO_CLASS};

static char *rest(void) {
    char *field = strtok(NULL, "\t");
    return strdup(field ? field : "");
}

static int number(void) {
    char *field = strtok(NULL, "\t");
    return field ? atoi(field) : 0;
}

static void add_conn(void) {
    if (plan.conn_count == plan.conn_cap) {
        plan.conn_cap = plan.conn_cap ? plan.conn_cap * 2 : 1024;
        plan.conns = realloc(plan.conns, sizeof(struct conn) * (size_t)plan.conn_cap);
    }
    struct conn *c = &plan.conns[plan.conn_count++];
    memset(c, 0, sizeof *c);
    c->fd = -1;
    char *role = rest();
    c->receives = strchr(role, 'R') != NULL;
    c->sends = strchr(role, 'S') != NULL;
    c->joins = strchr(role, 'J') != NULL;
    free(role);
    c->path = rest();
    c->a = rest();
    c->b = rest();
    c->port = number();
}

static void add_class(void) {
    char *text = rest();
    plan.class_prefix[plan.classes] = text;
    plan.class_len[plan.classes++] = strlen(text);
}

static void add_reply(void) {
    struct reply *r = &plan.replies[plan.reply_count++];
    r->class_index = number();
    r->text = rest();
}

static void add_ask(void) {
    if (plan.ask_count == MAX_ASKS) {
        fprintf(stderr, "more than %d asks\n", MAX_ASKS);
        exit(2);
    }
    struct ask *ask = &plan.asks[plan.ask_count++];
    ask->method = rest();
    ask->path = rest();
    ask->body = rest();
}

void plan_read(const char *file) {
    FILE *in = fopen(file, "r");
    if (!in) {
        perror(file);
        exit(2);
    }
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    while ((len = getline(&line, &size, in)) > 0) {
        if (line[len - 1] == '\n') line[len - 1] = 0;
        char *word = strtok(line, "\t");
        if (!word) continue;
        if (!strcmp(word, "conn")) add_conn();
        else if (!strcmp(word, "target")) {
            char *address = rest();
            snprintf(plan.address, sizeof plan.address, "%s", address);
            free(address);
            plan.port = number();
        } else if (!strcmp(word, "sources")) plan.sources = number();
        else if (!strcmp(word, "lines")) plan.split_lines = number();
        else if (!strcmp(word, "class")) add_class();
        else if (!strcmp(word, "reply")) add_reply();
        else if (!strcmp(word, "ask")) add_ask();
        else if (!strcmp(word, "answer")) plan.answer = rest();
        else if (!strcmp(word, "ready")) plan.ready_class = number();
        else if (!strcmp(word, "count")) plan.count_class = number();
        else if (!strcmp(word, "ack")) plan.ack_class = number();
        else if (!strcmp(word, "hello")) plan.hello = rest();
        else if (!strcmp(word, "message")) plan.message = rest();
        else if (!strcmp(word, "header")) plan.headers = rest();
        else {
            fprintf(stderr, "unknown directive %s\n", word);
            exit(2);
        }
    }
    free(line);
    fclose(in);
}
