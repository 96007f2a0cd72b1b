package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"
)

// Constants of linux/errqueue.h, linux/in.h and linux/in6.h.
const (
	ipRecvErr     = 11
	ipv6RecvErr   = 25
	msgErrQueue   = 0x2000
	originLocal   = 1
	originICMP    = 2
	originICMP6   = 3
	extendedBytes = 16
)

// extendedError is a message of a socket's error queue (struct sock_extended_err and the address behind it).
type extendedError struct {
	errno  syscall.Errno
	origin byte
	kind   byte
	code   byte
	info   uint32 // the MTU, where a packet was too long
	from   netip.Addr
}

// wantErrors makes the kernel queue ICMP errors about a socket's packets with their sender.
func wantErrors(fd int, v6 bool) error {
	if v6 {
		return syscall.SetsockoptInt(fd, syscall.IPPROTO_IPV6, ipv6RecvErr, 1)
	}
	return syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, ipRecvErr, 1)
}

// nextError takes the next message that ends a try from a socket's error queue; false if there is none. That a packet was too long ends
// only those tries which are about that: else the kernel finds the path's MTU by it.
func nextError(fd int, whole bool) (extendedError, bool) {
	payload, control := make([]byte, 2048), make([]byte, 512)
	for {
		_, size, _, _, err := syscall.Recvmsg(fd, payload, control, msgErrQueue|syscall.MSG_DONTWAIT)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return extendedError{}, false
		}
		if found, ok := parseControl(control[:size]); ok && (whole || !found.isTooBig()) {
			return found, true
		}
	}
}

func parseControl(control []byte) (extendedError, bool) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return extendedError{}, false
	}
	for _, message := range messages {
		v4 := message.Header.Level == syscall.IPPROTO_IP && message.Header.Type == ipRecvErr
		v6 := message.Header.Level == syscall.IPPROTO_IPV6 && message.Header.Type == ipv6RecvErr
		if (v4 || v6) && len(message.Data) >= extendedBytes {
			return parseExtended(message.Data), true
		}
	}
	return extendedError{}, false
}

func parseExtended(data []byte) extendedError {
	found := extendedError{
		errno:  syscall.Errno(binary.NativeEndian.Uint32(data)),
		origin: data[4],
		kind:   data[5],
		code:   data[6],
		info:   binary.NativeEndian.Uint32(data[8:]),
	}
	offender := data[extendedBytes:]
	switch {
	case found.origin == originICMP && len(offender) >= 8:
		found.from = netip.AddrFrom4([4]byte(offender[4:8]))
	case found.origin == originICMP6 && len(offender) >= 24:
		found.from = netip.AddrFrom16([16]byte(offender[8:24])).Unmap()
	}
	return found
}

func (e extendedError) isICMP() bool {
	return e.origin == originICMP || e.origin == originICMP6
}

func (e extendedError) isPortUnreachable() bool {
	return (e.origin == originICMP && e.kind == 3 && e.code == 3) || (e.origin == originICMP6 && e.kind == 1 && e.code == 4)
}

func (e extendedError) isHostUnreachable() bool {
	return (e.origin == originICMP && e.kind == 3 && e.code == 1) || (e.origin == originICMP6 && e.kind == 1 && e.code == 3)
}

// isTooBig tells path MTU discovery, or that the source's own link takes less.
func (e extendedError) isTooBig() bool {
	return (e.origin == originLocal && e.errno == syscall.EMSGSIZE) || (e.origin == originICMP && e.kind == 3 && e.code == 4) || (e.origin == originICMP6 && e.kind == 2)
}

// Names by RFC 792, RFC 1812 (v4) and RFC 4443 (v6).
var (
	names4 = map[byte]string{
		0: "network unreachable", 1: "host unreachable", 2: "protocol unreachable", 3: "port unreachable", 4: "fragmentation needed",
		9: "network prohibited", 10: "host prohibited", 13: "administratively prohibited",
	}
	names6 = map[byte]string{
		0: "no route", 1: "administratively prohibited", 3: "address unreachable", 4: "port unreachable",
		5: "source address failed policy", 6: "reject route",
	}
)

func (e extendedError) name() string {
	name := ""
	switch {
	case e.origin == originICMP && e.kind == 3:
		name = names4[e.code]
	case e.origin == originICMP6 && e.kind == 1:
		name = names6[e.code]
	case e.origin == originICMP6 && e.kind == 2:
		name = "packet too big"
	case (e.origin == originICMP && e.kind == 11) || (e.origin == originICMP6 && e.kind == 3):
		name = "time exceeded"
	}
	if name == "" {
		return fmt.Sprintf("type %d code %d", e.kind, e.code)
	}
	return name
}

// Bits of poll.h.
const (
	pollIn  = 0x1
	pollOut = 0x4
)

type pollDescriptor struct {
	fd      int32
	events  int16
	revents int16
}

// await waits until a socket can be read or written, or has an error; false at the deadline.
func await(fd int, events int16, deadline time.Time) bool {
	for {
		left := time.Until(deadline)
		if left < 0 {
			left = 0
		}
		timeout := syscall.NsecToTimespec(left.Nanoseconds())
		waited := pollDescriptor{fd: int32(fd), events: events}
		ready, _, errno := syscall.Syscall6(syscall.SYS_PPOLL,
			uintptr(unsafe.Pointer(&waited)), 1, uintptr(unsafe.Pointer(&timeout)), 0, 0, 0)
		if errno == syscall.EINTR {
			continue
		}
		return errno == 0 && int(ready) > 0
	}
}
