package main

// Numbers of arch/x86/entry/syscalls/syscall_64.tbl that package syscall lacks.
const (
	sysSetns    = 308
	sysExecveat = 322
)
