/* The program around a caller: explore it. */
#include <kvroute.h>

int main(void)
{
	return kvroute_explore(kvroute_caller);
}
