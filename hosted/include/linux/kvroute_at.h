/* From where a call comes: each call's macro says so before it calls. Part of kvroute; MIT OR
 * Apache-2.0. A name without parentheses behind it is the function, so its address can be taken. */
#ifndef KVROUTE_AT_H
#define KVROUTE_AT_H

void kvroute_at(const char *file, unsigned int line);
#define KVROUTE_HERE kvroute_at(__FILE__, __LINE__)

#endif
