/* The least a Mongrel2 handler can do: handler SEND_SPEC RECV_SPEC answers what the benchmark asks, and checks nothing. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define HEAD(type) "HTTP/1.1 200 OK\r\ncontent-type: " type "\r\n"
#define TEXT(length, text) "content-length: " length "\r\n\r\n" text

static void *connected(void *context, int type, const char *spec)
{
    void *socket = zmq_socket(context, type);
    if (socket == NULL || zmq_connect(socket, spec) != 0) {
        fprintf(stderr, "%s: %s\n", spec, zmq_strerror(zmq_errno()));
        exit(1);
    }
    return socket;
}

/* The answer to HSIZE ":" HEADERS "," BSIZE ":" BODY "," at this path. */
static int answer_to(const char *path, const char *rest, char *answer, size_t size)
{
    if (strncmp(path, "/echo ", 6) == 0) {
        char *headers, *body;
        size_t length = strtoul(rest, &headers, 10);
        length = strtoul(headers + 1 + length + 1, &body, 10);
        return snprintf(answer, size, HEAD("application/json") "content-length: %zu\r\n\r\n%.*s", length, (int)length, body + 1);
    }
    if (strncmp(path, "/headers ", 9) != 0) return snprintf(answer, size, HEAD("text/plain;charset=UTF-8") TEXT("11", "Hello World"));
    int used = snprintf(answer, size, HEAD("text/plain;charset=UTF-8"));
    for (int n = 1; n < 20; n++) used += snprintf(answer + used, size - used, "x-header-%d: the value of header %d\r\n", n, n);
    return used + snprintf(answer + used, size - used, TEXT("20", "A page of 20 headers"));
}

/* SENDER SP CONN_ID SP PATH SP ...; writes the reply and returns its length, 0 for what must not be answered. */
static int reply_to(const char *message, size_t length, char *reply, size_t size)
{
    const char *end = message + length;
    const char *id = memchr(message, ' ', length);
    const char *path = id == NULL ? NULL : memchr(id + 1, ' ', end - id - 1);
    const char *rest = path == NULL ? NULL : memchr(path + 1, ' ', end - path - 1);
    if (rest == NULL || memcmp(path, " @*", 3) == 0) return 0;
    int used = snprintf(reply, size, "%.*s %d:%.*s, ", (int)(id - message), message, (int)(path - id - 1),
        (int)(path - id - 1), id + 1);
    return used + answer_to(path + 1, rest + 1, reply + used, size - used);
}

int main(int argc, char **argv)
{
    if (argc != 3) return 2;
    void *context = zmq_ctx_new();
    /* XPUB is a PUB that tells when Mongrel2 has subscribed; what is sent before is lost. */
    void *publisher = connected(context, ZMQ_XPUB, argv[2]);
    char subscription[64];
    if (zmq_recv(publisher, subscription, sizeof subscription, 0) < 1) return 1;
    void *source = connected(context, ZMQ_PULL, argv[1]);
    puts("ready");
    fflush(stdout);

    char reply[4096];
    zmq_msg_t message;
    zmq_msg_init(&message);
    while (zmq_msg_recv(&message, source, 0) >= 0) {
        int length = reply_to(zmq_msg_data(&message), zmq_msg_size(&message), reply, sizeof reply);
        if (length > 0 && zmq_send(publisher, reply, length, 0) < 0) break;
    }
    fprintf(stderr, "%s\n", zmq_strerror(zmq_errno()));
    return 1;
}
