/* The ceiling: a server that does nothing but what no server can avoid. What its senders said at
 * the same time goes out to every receiver as one write of ready frames. Whatever the load generator
 * counts against this server is the most that it could count against any. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_FRAMES 4096
#define MOST_FDS 20000
#define GATHER_MICROSECONDS 100

static char *frames;
static size_t frame_len;
static uint32_t pending;
static uint8_t open_fd[MOST_FDS], receives[MOST_FDS];
static char in[65536];

static void upgrade(int fd) {
    /* The accept key of the one key that the load generator sends (RFC 6455, section 1.3). */
    static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                 "Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    receives[fd] = strncmp(in, "GET /send", 9) != 0;
    open_fd[fd] = 1;
    send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
}

static void count_frames(const char *bytes, ssize_t len) {
    for (ssize_t at = 0; at + 2 <= len; pending++) {
        size_t size = (uint8_t)bytes[at + 1] & 0x7f, head = 6;
        if (size == 126) {
            size = (size_t)((uint8_t)bytes[at + 2] << 8 | (uint8_t)bytes[at + 3]);
            head = 8;
        }
        at += (ssize_t)(head + size);
    }
}

static void write_all(int fd, const char *bytes, size_t len) {
    while (len) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
}

int main(int argc, char **argv) {
    const char *payload = argc > 2 ? argv[2] : "x";
    size_t size = strlen(payload);
    frame_len = size + (size < 126 ? 2 : 4);
    frames = malloc(frame_len * MOST_FRAMES);
    for (int i = 0; i < MOST_FRAMES; i++) {
        char *f = frames + frame_len * (size_t)i;
        f[0] = (char)0x81;
        if (size < 126) f[1] = (char)size;
        else {
            f[1] = 126;
            f[2] = (char)(size >> 8);
            f[3] = (char)size;
        }
        memcpy(f + frame_len - size, payload, size);
    }
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, poller = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 0))};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) {
        perror("listen");
        return 1;
    }
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, events[1024];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &e);
    int gathered = 0;
    for (;;) {
        int n = epoll_wait(poller, events, 1024, pending ? 0 : -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int client;
                while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    e.events = EPOLLIN;
                    e.data.fd = client;
                    open_fd[client] = receives[client] = 0;
                    epoll_ctl(poller, EPOLL_CTL_ADD, client, &e);
                }
                continue;
            }
            ssize_t len = recv(fd, in, sizeof in - 1, 0);
            if (len <= 0) {
                open_fd[fd] = 0;
                close(fd);
            } else if (!open_fd[fd]) {
                in[len] = 0;
                upgrade(fd);
            } else count_frames(in, len);
        }
        /* Senders that speak at the same time are heard together: the fewest writes there can be. */
        if (pending && !gathered) {
            usleep(GATHER_MICROSECONDS);
            gathered = 1;
            continue;
        }
        gathered = 0;
        for (; pending; pending -= pending > MOST_FRAMES ? MOST_FRAMES : pending) {
            size_t len = frame_len * (pending > MOST_FRAMES ? MOST_FRAMES : pending);
            for (int fd = 0; fd < MOST_FDS; fd++)
                if (open_fd[fd] && receives[fd]) write_all(fd, frames, len);
        }
    }
}
