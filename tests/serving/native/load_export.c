/* Asks an export through TensorFlow's C library, as a model server does, with no Python.

   load_export FOLDER REQUEST OP_LIBRARY...

   REQUEST is text: "in NAME:INDEX TYPE RANK SIZE..." and the values, one a line; "out NAME:INDEX" for what is wanted.
   Prints each output as "NAME TYPE COUNT" and its values, one a line. TYPE is a number of TF_DataType. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

enum { MOST = 64, LINE = 1 << 16 };
static char line[LINE];
static TF_Status* status;

static void check(const char* doing) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", doing, TF_Message(status));
  exit(1);
}

static int next_line(FILE* file) {
  if (!fgets(line, LINE, file)) return 0;
  line[strcspn(line, "\n")] = 0;
  return 1;
}

/* "name:index" -> a place in the graph */
static TF_Output place_of(TF_Graph* graph, char* name) {
  char* colon = strrchr(name, ':');
  if (!colon) exit(2);
  *colon = 0;
  TF_Output place = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
  if (!place.oper) {
    fprintf(stderr, "expected an operation %s in the graph, found none\n", name);
    exit(1);
  }
  return place;
}

static TF_Tensor* read_tensor(FILE* file, TF_DataType type, const int64_t* sizes, int rank) {
  int64_t count = 1;
  for (int i = 0; i < rank; i++) count *= sizes[i];
  TF_Tensor* tensor = TF_AllocateTensor(type, sizes, rank, count * TF_DataTypeSize(type) +
                                        (type == TF_STRING ? count * sizeof(TF_TString) : 0));
  void* data = TF_TensorData(tensor);
  for (int64_t i = 0; i < count; i++) {
    if (!next_line(file)) exit(2);
    if (type == TF_STRING) {
      TF_StringInit((TF_TString*)data + i);
      TF_StringCopy((TF_TString*)data + i, line, strlen(line));
    } else if (type == TF_INT32) {
      ((int32_t*)data)[i] = (int32_t)strtol(line, NULL, 10);
    } else if (type == TF_INT64) {
      ((int64_t*)data)[i] = strtoll(line, NULL, 10);
    } else {
      exit(2);
    }
  }
  return tensor;
}

static void print_tensor(const char* name, const TF_Tensor* tensor) {
  int64_t count = TF_TensorElementCount(tensor);
  void* data = TF_TensorData(tensor);
  printf("%s %d %" PRId64 "\n", name, (int)TF_TensorType(tensor), count);
  for (int64_t i = 0; i < count; i++) {
    if (TF_TensorType(tensor) == TF_STRING) {
      const TF_TString* text = (TF_TString*)data + i;
      printf("%.*s\n", (int)TF_StringGetSize(text), TF_StringGetDataPointer(text));
    } else {
      printf("%.9g\n", ((float*)data)[i]);
    }
  }
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  status = TF_NewStatus();
  for (int i = 3; i < argc; i++) {
    TF_LoadLibrary(argv[i], status);
    check(argv[i]);
  }
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check("loading the export");

  FILE* file = fopen(argv[2], "r");
  if (!file) return 2;
  TF_Output inputs[MOST], outputs[MOST];
  TF_Tensor *values[MOST], *answers[MOST];
  char names[MOST][256];
  int ins = 0, outs = 0;
  while (next_line(file) && ins < MOST && outs < MOST) {
    char name[256];
    int type, rank, read;
    int64_t sizes[8];
    if (sscanf(line, "in %255s %d %d%n", name, &type, &rank, &read) == 3 && rank <= 8) {
      char* rest = line + read;
      for (int i = 0; i < rank; i++) sizes[i] = strtoll(rest, &rest, 10);
      inputs[ins] = place_of(graph, name);
      values[ins++] = read_tensor(file, (TF_DataType)type, sizes, rank);
    } else if (sscanf(line, "out %255s", names[outs]) == 1) {
      strcpy(name, names[outs]);
      outputs[outs++] = place_of(graph, name);
    } else {
      return 2;
    }
  }
  TF_SessionRun(session, NULL, inputs, values, ins, outputs, answers, outs, NULL, 0, NULL, status);
  check("asking");
  for (int i = 0; i < outs; i++) print_tensor(names[i], answers[i]);
  return 0;
}
