/* Serves one SavedModel through TensorFlow's C API, the runtime of TensorFlow Serving, without
   Python:  c_api_check SAVED_MODEL INTRA_OP_THREADS INTER_OP_THREADS  (0: TensorFlow chooses)

   Requests come on standard input and answers go to standard output until the input ends; a first
   answer without outputs says whether the model was loaded. Numbers are little-endian.

   request  text(signature) u32(runs) u32(inputs) {text(name) tensor}...
   answer   u32(code) text(error), and after a request with code 0
            {f64(seconds)} of each run, u32(outputs) {text(name) tensor}...

   text     u32(length) bytes
   tensor   u32(dtype) u32(rank) {i64(dimension)}... u64(length) bytes; those of a string tensor are
            a text for each element
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tensorflow/c/c_api.h"

#define MOST 1024 /* inputs or outputs of a signature, dimensions of a tensor */

typedef struct {
  const uint8_t *at, *end;
} Span;

static FILE *answers;

static void stop(const char *why) {
  fprintf(stderr, "c_api_check: %s\n", why);
  exit(2);
}

static void get(void *target, size_t size) {
  if (size && fread(target, 1, size, stdin) != size) stop("the request ended early");
}

static uint32_t get_u32(void) {
  uint32_t number;
  get(&number, sizeof number);
  return number;
}

static Span get_text(void) {
  size_t size = get_u32();
  uint8_t *bytes = malloc(size + 1);
  if (!bytes) stop("out of memory");
  get(bytes, size);
  return (Span){bytes, bytes + size};
}

static void put(const void *source, size_t size) {
  if (size && fwrite(source, 1, size, answers) != size) stop("the answer can't be written");
}

static void put_u32(uint32_t number) { put(&number, sizeof number); }

static void put_text(const void *text, size_t size) {
  put_u32((uint32_t)size);
  put(text, size);
}

static void put_status(TF_Status *status) {
  put_u32(TF_GetCode(status));
  put_text(TF_Message(status), strlen(TF_Message(status)));
}

static size_t elements(const int64_t *shape, int rank) {
  size_t count = 1;
  for (int i = 0; i < rank; i++) count *= (size_t)shape[i];
  return count;
}

static TF_Tensor *get_tensor(void) {
  int64_t shape[MOST];
  TF_DataType dtype = get_u32();
  uint32_t rank = get_u32();
  if (rank > MOST) stop("too many dimensions");
  get(shape, rank * sizeof *shape);
  uint64_t size;
  get(&size, sizeof size);
  size_t count = elements(shape, rank), width = TF_DataTypeSize(dtype);
  if (dtype != TF_STRING && size != count * width) stop("a tensor's size is not that of its shape");
  size_t bytes = dtype == TF_STRING ? count * sizeof(TF_TString) : size;
  TF_Tensor *tensor = TF_AllocateTensor(dtype, shape, rank, bytes);
  if (!tensor) stop("out of memory");
  if (dtype != TF_STRING) {
    get(TF_TensorData(tensor), size);
    return tensor;
  }
  TF_TString *strings = TF_TensorData(tensor);
  for (size_t i = 0; i < count; i++) {
    Span text = get_text();
    TF_StringInit(&strings[i]);
    TF_StringCopy(&strings[i], (const char *)text.at, text.end - text.at);
    free((void *)text.at);
  }
  return tensor;
}

static void put_tensor(TF_Tensor *tensor) {
  uint32_t rank = TF_NumDims(tensor);
  size_t count = 1;
  put_u32(TF_TensorType(tensor));
  put_u32(rank);
  for (uint32_t i = 0; i < rank; i++) {
    int64_t size = TF_Dim(tensor, i);
    put(&size, sizeof size);
    count *= size;
  }
  uint64_t bytes = TF_TensorByteSize(tensor);
  if (TF_TensorType(tensor) != TF_STRING) {
    put(&bytes, sizeof bytes);
    put(TF_TensorData(tensor), bytes);
    return;
  }
  TF_TString *strings = TF_TensorData(tensor);
  bytes = 4 * count;
  for (size_t i = 0; i < count; i++) bytes += TF_StringGetSize(&strings[i]);
  put(&bytes, sizeof bytes);
  for (size_t i = 0; i < count; i++)
    put_text(TF_StringGetDataPointer(&strings[i]), TF_StringGetSize(&strings[i]));
}

typedef struct {
  int count;
  Span names[MOST];
  TF_Output ports[MOST];
  TF_Tensor *tensors[MOST];
} Tensors;

static TF_Graph *graph;
static TF_Session *session;
static TF_Buffer *meta_graph;

/* Protocol buffers: just enough to read a signature. */
static uint64_t varint(Span *message) {
  uint64_t number = 0;
  for (int shift = 0; message->at < message->end && shift < 64; shift += 7) {
    uint8_t byte = *message->at++;
    number |= (uint64_t)(byte & 127) << shift;
    if (byte < 128) break;
  }
  return number;
}

/* The number of the next field, 0 at the end of the message; `value` is that of a nested one. */
static uint32_t next_field(Span *message, Span *value) {
  if (message->at >= message->end) return 0;
  uint64_t tag = varint(message), size = 0;
  if ((tag & 7) == 0) varint(message);
  if ((tag & 7) == 1) size = 8;
  if ((tag & 7) == 2) size = varint(message);
  if ((tag & 7) == 5) size = 4;
  if (size > (uint64_t)(message->end - message->at)) stop("the model's signatures can't be read");
  *value = (Span){message->at, message->at + size};
  message->at += size;
  return (uint32_t)(tag >> 3);
}

static Span field(Span message, uint32_t number) {
  Span value, found = {NULL, NULL};
  for (uint32_t n; (n = next_field(&message, &value));)
    if (n == number) found = value;
  return found;
}

static int same(Span a, Span b) {
  return a.end - a.at == b.end - b.at && !memcmp(a.at, b.at, a.end - a.at);
}

/* The value with this key of the map in field `number`. */
static Span entry(Span message, uint32_t number, Span key) {
  Span value;
  for (uint32_t n; (n = next_field(&message, &value));)
    if (n == number && same(field(value, 1), key)) return field(value, 2);
  return (Span){NULL, NULL};
}

/* `operation:index`, the name in a TensorInfo, in the graph. */
static TF_Output port(Span info) {
  char name[4096];
  Span full = field(info, 1);
  snprintf(name, sizeof name, "%.*s", (int)(full.end - full.at), (const char *)full.at);
  char *colon = strrchr(name, ':');
  int index = colon ? atoi(colon + 1) : 0;
  if (colon) *colon = 0;
  return (TF_Output){TF_GraphOperationByName(graph, name), index};
}

static void release(Tensors *some) {
  for (int i = 0; i < some->count; i++) {
    if (some->tensors[i]) TF_DeleteTensor(some->tensors[i]);
    some->tensors[i] = NULL;
  }
}

/* A request's strings and names are ours, an answer's are TensorFlow's. */
static void release_request(Tensors *inputs) {
  for (int i = 0; i < inputs->count; i++) {
    TF_Tensor *tensor = inputs->tensors[i];
    TF_TString *strings = TF_TensorData(tensor);
    int64_t count = TF_TensorType(tensor) == TF_STRING ? TF_TensorElementCount(tensor) : 0;
    for (int64_t j = 0; j < count; j++) TF_StringDealloc(&strings[j]);
    free((void *)inputs->names[i].at);
  }
  release(inputs);
}

static int given(const Tensors *inputs, Span name) {
  for (int i = 0; i < inputs->count; i++)
    if (same(inputs->names[i], name)) return 1;
  return 0;
}

/* Finds the inputs and all outputs of signature `*name`: NULL, or what is wrong with `*name`. */
static const char *find(Span *name, Tensors *inputs, Tensors *outputs) {
  Span all = {meta_graph->data, (const uint8_t *)meta_graph->data + meta_graph->length}, value;
  Span signature = entry(all, 5, *name);
  outputs->count = 0;
  if (!signature.at) return "the model has no signature";
  for (int i = 0; i < inputs->count; i++) {
    *name = inputs->names[i];
    Span info = entry(signature, 1, *name);
    if (!info.at) return "the signature has no input";
    inputs->ports[i] = port(info);
  }
  for (uint32_t n; (n = next_field(&signature, &value));) {
    *name = field(value, 1);
    if (n == 1 && !given(inputs, *name)) return "the request lacks input";
    if (n != 2) continue;
    if (outputs->count == MOST) return "too many outputs at";
    outputs->names[outputs->count] = *name;
    outputs->ports[outputs->count++] = port(field(value, 2));
  }
  return NULL;
}

static void run(Tensors *inputs, Tensors *outputs, double *seconds, TF_Status *status) {
  struct timespec from, to;
  release(outputs);
  clock_gettime(CLOCK_MONOTONIC, &from);
  TF_SessionRun(session, NULL, inputs->ports, inputs->tensors, inputs->count, outputs->ports,
                outputs->tensors, outputs->count, NULL, 0, NULL, status);
  clock_gettime(CLOCK_MONOTONIC, &to);
  *seconds = (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
}

static void answer(Span signature, Tensors *inputs, Tensors *outputs, TF_Status *status) {
  uint32_t runs = get_u32();
  inputs->count = (int)get_u32();
  if (inputs->count < 0 || inputs->count > MOST) stop("too many inputs");
  for (int i = 0; i < inputs->count; i++) {
    inputs->names[i] = get_text();
    inputs->tensors[i] = get_tensor();
  }
  Span name = signature;
  const char *wrong = find(&name, inputs, outputs);
  char text[4096];
  snprintf(text, sizeof text, "%s `%.*s`", wrong ? wrong : "", (int)(name.end - name.at),
           (const char *)name.at);
  TF_SetStatus(status, wrong ? TF_INVALID_ARGUMENT : TF_OK, wrong ? text : "");
  double *seconds = malloc(runs * sizeof *seconds + 1);
  if (!seconds || !runs) stop("expected one run or more");
  for (uint32_t i = 0; i < runs && TF_GetCode(status) == TF_OK; i++)
    run(inputs, outputs, &seconds[i], status);
  put_status(status);
  if (TF_GetCode(status) == TF_OK) {
    put(seconds, runs * sizeof *seconds);
    put_u32((uint32_t)outputs->count);
    for (int i = 0; i < outputs->count; i++) {
      put_text(outputs->names[i].at, outputs->names[i].end - outputs->names[i].at);
      put_tensor(outputs->tensors[i]);
    }
  }
  free(seconds);
  release(outputs);
  release_request(inputs);
}

static void load(const char *path, int intra_op, int inter_op, TF_Status *status) {
  const char *tags[] = {"serve"};
  /* A ConfigProto: its fields 2 and 5 are the numbers of threads. */
  uint8_t config[] = {2 << 3, (uint8_t)intra_op, 5 << 3, (uint8_t)inter_op};
  TF_SessionOptions *options = TF_NewSessionOptions();
  TF_SetConfig(options, config, sizeof config, status);
  graph = TF_NewGraph();
  meta_graph = TF_NewBuffer();
  session = TF_LoadSessionFromSavedModel(options, NULL, path, tags, 1, graph, meta_graph, status);
  TF_DeleteSessionOptions(options);
}

int main(int count, char **arguments) {
  static Tensors inputs, outputs;
  if (count != 4) stop("expected SAVED_MODEL INTRA_OP_THREADS INTER_OP_THREADS");
  /* Whatever TensorFlow prints goes to standard error. */
  answers = fdopen(dup(STDOUT_FILENO), "wb");
  if (!answers || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) stop("standard output can't be written");
  TF_Status *status = TF_NewStatus();
  load(arguments[1], atoi(arguments[2]) & 127, atoi(arguments[3]) & 127, status);
  put_status(status);
  fflush(answers);
  if (TF_GetCode(status) != TF_OK) return 1;
  for (int byte; (byte = getchar()) != EOF;) {
    ungetc(byte, stdin);
    Span signature = get_text();
    answer(signature, &inputs, &outputs, status);
    free((void *)signature.at);
    fflush(answers);
  }
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  return 0;
}
