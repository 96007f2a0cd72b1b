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
func open(kind int, target, from netip.AddrPort) (int, error) {
	return openOf(kind, 0, target, from)
}

// openOf does so of a protocol other than the kind's usual one.
func openOf(kind, protocol int, target, from netip.AddrPort) (int, error) {
	v6 := target.Addr().Is6()
	family := syscall.AF_INET
	if v6 {
		family = syscall.AF_INET6
	}
	fd, err := syscall.Socket(family, kind|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, err
	}
	if err := wantErrors(fd, v6); err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	if from.IsValid() {
		if err := bind(fd, from, v6); err != nil {
			_ = syscall.Close(fd)
			return -1, err
		}
	}
	return fd, syscall.Connect(fd, socketAddress(target))
}

// bind makes a socket send from an address and a port. A port may be used again at once after a connection from it.
func bind(fd int, from netip.AddrPort, v6 bool) error {
	if from.Addr().IsUnspecified() && from.Addr().Is6() != v6 {
		any := netip.IPv4Unspecified()
		if v6 {
			any = netip.IPv6Unspecified()
		}
		from = netip.AddrPortFrom(any, from.Port())
	}
	if from.Addr().Is6() != v6 {
		return fmt.Errorf("can't send from %s: the target is of the other family", from.Addr())
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return err
	}
	if err := syscall.Bind(fd, socketAddress(from)); err != nil {
		return fmt.Errorf("can't send from %s: %s", from, err)
	}
	return nil
}

func socketAddress(pair netip.AddrPort) syscall.Sockaddr {
	if pair.Addr().Is4() {
		return &syscall.SockaddrInet4{Port: int(pair.Port()), Addr: pair.Addr().As4()}
	}
	zone := 0
	if link, err := net.InterfaceByName(pair.Addr().Zone()); err == nil {
		zone = link.Index
	}
	return &syscall.SockaddrInet6{Port: int(pair.Port()), Addr: pair.Addr().As16(), ZoneId: uint32(zone)}
}

// ends are the addresses that a target means, and what to send from.
func ends(ctx context.Context, target Target) ([]netip.Addr, netip.AddrPort, error) {
	from := netip.AddrPort{}
	if target.Bind != "" {
		var err error
		if from, err = netip.ParseAddrPort(target.Bind); err != nil {
			return nil, from, err
		}
	}
	addresses, err := addressesOf(ctx, target.Host, target.Family)
	return addresses, from, err
}

// connectTCP completes a handshake until the deadline. The connection is nil unless the outcome is allowed.
func connectTCP(target, from netip.AddrPort, deadline time.Time) (net.Conn, verdict) {
	fd, err := open(syscall.SOCK_STREAM, target, from)
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
	return judgeOf(fd, err, sent, target, false)
}

// judgeOf does so of a socket whose packets must go `whole`, or of another.
func judgeOf(fd int, err error, sent bool, target netip.AddrPort, whole bool) verdict {
	result := verdict{outcome: Allowed, remote: target}
	if fd >= 0 {
		result.local = localAddress(fd)
		if message, ok := nextError(fd, whole); ok {
			if message.isICMP() {
				result.icmp = &ICMP{Type: int(message.kind), Code: int(message.code), From: message.from.String()}
			}
			switch {
			case message.isTooBig():
				result.mtu = int(message.info)
				result.outcome, result.reason = tooLong(message)
				return result
			case message.isICMP():
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
		var failure *net.DNSError
		reason := fmt.Sprintf("can't resolve %s: %s", host, resolveReason(err))
		return nil, &unresolved{reason: reason, isMissing: errors.As(err, &failure) && failure.IsNotFound}
	}
	for index, address := range found {
		found[index] = address.Unmap()
	}
	return found, nil
}

// unresolved says why a name has no address; isMissing: because its server said so.
type unresolved struct {
	reason    string
	isMissing bool
}

func (u *unresolved) Error() string { return u.reason }

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
