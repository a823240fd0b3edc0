/* What goes over the pipe of c_api_check.c: numbers, texts and tensors, little-endian.

   text     u32(length) bytes
   tensor   u32(dtype) u32(rank) {i64(dimension)}... u64(length) bytes; those of a string tensor are
            a text for each element
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
