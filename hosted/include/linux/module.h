/* Modules: none is loaded, its functions are called. Part of kvroute; MIT OR Apache-2.0. */
#ifndef KVROUTE_LINUX_MODULE_H
#define KVROUTE_LINUX_MODULE_H

#include <linux/compiler.h>
#include <linux/kernel.h>

#define MODULE_LICENSE(text)
#define MODULE_AUTHOR(text)
#define MODULE_DESCRIPTION(text)
#define MODULE_VERSION(text)
#define MODULE_ALIAS(text)
#define EXPORT_SYMBOL(name)
#define EXPORT_SYMBOL_GPL(name)
#define THIS_MODULE NULL

#endif
