package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
)

// open makes a non-blocking socket of the address' family that queues ICMP errors, and begins to connect it.
// A datagram socket is connected at once; err is EINPROGRESS for a stream.
func open(kind int, target netip.AddrPort) (int, error) {
	v6 := target.Addr().Is6()
	family := syscall.AF_INET
	var address syscall.Sockaddr = &syscall.SockaddrInet4{Port: int(target.Port())}
	if v6 {
		family = syscall.AF_INET6
		zone := 0
		if link, err := net.InterfaceByName(target.Addr().Zone()); err == nil {
			zone = link.Index
		}
		address = &syscall.SockaddrInet6{Port: int(target.Port()), Addr: target.Addr().As16(), ZoneId: uint32(zone)}
	} else {
		address.(*syscall.SockaddrInet4).Addr = target.Addr().As4()
	}
	fd, err := syscall.Socket(family, kind|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := wantErrors(fd, v6); err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	return fd, syscall.Connect(fd, address)
}

// connectTCP completes a handshake until the deadline. The connection is nil unless the outcome is allowed.
func connectTCP(target netip.AddrPort, deadline time.Time) (net.Conn, verdict) {
	fd, err := open(syscall.SOCK_STREAM, target)
	if fd < 0 {
		return nil, judge(-1, err, false, target)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		return nil, judge(fd, err, false, target)
	}
	if !await(fd, pollOut, deadline) {
		return nil, judge(fd, syscall.ETIMEDOUT, true, target)
	}
	if found := judge(fd, pending(fd), true, target); found.outcome != Allowed {
		return nil, found
	}
	return adopt(fd, target)
}

// adopt hands a connected socket to the runtime's poller.
func adopt(fd int, target netip.AddrPort) (net.Conn, verdict) {
	found := verdict{outcome: Allowed, local: localAddress(fd), remote: target}
	copied, err := syscall.Dup(fd)
	if err != nil {
		return nil, verdict{outcome: Errored, reason: err.Error(), remote: target}
	}
	file := os.NewFile(uintptr(copied), "tcp")
	defer func() { _ = file.Close() }()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, verdict{outcome: Errored, reason: err.Error(), remote: target}
	}
	return conn, found
}

// pending is the error that a socket has in store, nil if none.
func pending(fd int) error {
	code, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_ERROR)
	if err != nil {
		return err
	}
	if code != 0 {
		return syscall.Errno(code)
	}
	return nil
}

// judge makes a verdict of a socket's error queue and an error; the queue, which knows the sender, goes first.
func judge(fd int, err error, sent bool, target netip.AddrPort) verdict {
	result := verdict{outcome: Allowed, remote: target}
	if fd >= 0 {
		result.local = localAddress(fd)
		if message, ok := nextError(fd); ok {
			if message.isICMP() {
				result.icmp = &ICMP{Type: int(message.kind), Code: int(message.code), From: message.from.String()}
				result.outcome, result.reason = fromICMP(message, target.Addr())
				return result
			}
			err = message.errno
		}
	}
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		result.outcome, result.reason = fromErrno(errno, sent)
	case err != nil:
		result.outcome, result.reason = Errored, err.Error()
	}
	return result
}

func localAddress(fd int) netip.AddrPort {
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	switch address := name.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(address.Addr), uint16(address.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(address.Addr), uint16(address.Port))
	}
	return netip.AddrPort{}
}

// addressesOf resolves a name or literal to the addresses of a family ("" for both).
func addressesOf(ctx context.Context, host, family string) ([]netip.Addr, error) {
	network := map[string]string{"": "ip", "IPv4": "ip4", "IPv6": "ip6"}[family]
	if network == "" {
		return nil, fmt.Errorf("unknown family %q", family)
	}
	if literal, err := netip.ParseAddr(host); err == nil {
		literal = literal.Unmap()
		if (network == "ip4" && !literal.Is4()) || (network == "ip6" && !literal.Is6()) {
			return nil, fmt.Errorf("%s is not %s", host, family)
		}
		return []netip.Addr{literal}, nil
	}
	resolver := net.Resolver{PreferGo: true}
	found, err := resolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return nil, fmt.Errorf("can't resolve %s: %s", host, resolveReason(err))
	}
	for index, address := range found {
		found[index] = address.Unmap()
	}
	return found, nil
}

func resolveReason(err error) string {
	var failure *net.DNSError
	if !errors.As(err, &failure) {
		return err.Error()
	}
	text := failure.Err
	if failure.IsTimeout || errors.Is(err, context.DeadlineExceeded) {
		text = "no answer in time"
	}
	if failure.Server != "" {
		text += " (server " + failure.Server + ")"
	}
	return text
}

// tryEach tries addresses in turn, sharing the time left evenly, until one is allowed; else the last that says most is answered.
func tryEach(addresses []netip.Addr, deadline time.Time, try func(netip.Addr, time.Time) verdict) verdict {
	result := verdict{outcome: Errored, reason: "no address"}
	for index, address := range addresses {
		share := time.Until(deadline) / time.Duration(len(addresses)-index)
		found := try(address, time.Now().Add(share))
		if found.outcome == Allowed {
			return found
		}
		if result.outcome == Errored || found.outcome != Errored {
			result = found
		}
	}
	return result
}
