package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"
)

// findContainers maps each container ID to its first process on this machine, by the cgroups that runtimes name after it.
func findContainers(ids map[string]bool) map[string]int {
	found := map[string]int{}
	paths, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		for id := range ids {
			if known := found[id]; strings.Contains(string(text), id) && (known == 0 || pid < known) {
				found[id] = pid
			}
		}
	}
	return found
}

// enter replaces this program by itself inside a process' network and mount namespaces: its links, resolv.conf and hosts.
// The program needs no file there: it is run from an open file descriptor. Returns only on failure.
func enter(pid int, arguments []string) error {
	runtime.LockOSThread()
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	network, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	mounts, err := os.Open(fmt.Sprintf("/proc/%d/ns/mnt", pid))
	if err != nil {
		return err
	}
	// A thread may change its mount namespace only when it shares its root and working folder with no other (setns(2)).
	if err := syscall.Unshare(syscall.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	for _, step := range []struct {
		file *os.File
		kind uintptr
	}{{network, syscall.CLONE_NEWNET}, {mounts, syscall.CLONE_NEWNS}} {
		if _, _, errno := syscall.Syscall(sysSetns, step.file.Fd(), step.kind, 0); errno != 0 {
			return fmt.Errorf("setns %s: %w", step.file.Name(), errno)
		}
	}
	return execute(program, arguments)
}

// execute is execveat(2) with AT_EMPTY_PATH.
func execute(program *os.File, arguments []string) error {
	const atEmptyPath = 0x1000
	argv, err := syscall.SlicePtrFromStrings(append([]string{"koalesce-probe"}, arguments...))
	if err != nil {
		return err
	}
	environment, err := syscall.SlicePtrFromStrings([]string{})
	if err != nil {
		return err
	}
	empty, err := syscall.BytePtrFromString("")
	if err != nil {
		return err
	}
	_, _, errno := syscall.Syscall6(sysExecveat, program.Fd(), uintptr(unsafe.Pointer(empty)),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&environment[0])), atEmptyPath, 0)
	runtime.KeepAlive(program)
	return fmt.Errorf("execveat: %w", errno)
}

var errNoContainer = errors.New("no process of this container runs on this machine")
