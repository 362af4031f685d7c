/* The program around a caller that libFuzzer runs: its bytes are the plan. */
#include <kvroute.h>

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t nr_bytes);

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t nr_bytes)
{
	kvroute_fuzz(kvroute_caller, bytes, nr_bytes);
	return 0;
}
