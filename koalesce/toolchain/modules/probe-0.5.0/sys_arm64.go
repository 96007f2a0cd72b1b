package main

// Numbers of include/uapi/asm-generic/unistd.h that package syscall lacks.
const (
	sysSetns    = 268
	sysExecveat = 281
)
