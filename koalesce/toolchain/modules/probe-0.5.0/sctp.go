package main

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

const (
	protocolSCTP   = 132
	protocolICMPv6 = 58
	// courtesy is how long an answer is awaited that nobody asked for: agnhost netexec ends for good where who connects says nothing, or
	// doesn't wait.
	courtesy = time.Second
)

const noSCTP = "the kernel has no SCTP (requires: [sctp] skips what needs it)"

// probeSCTP makes an association, and speaks as it does over UDP.
func probeSCTP(ctx context.Context, target Target, deadline time.Time) Result {
	addresses, from, err := ends(ctx, target)
	if err != nil {
		return Result{Outcome: Errored, Reason: err.Error()}
	}
	var result Result
	found := tryEach(addresses, deadline, func(address netip.Addr, until time.Time) verdict {
		made, spoken := exchangeSCTP(netip.AddrPortFrom(address, uint16(target.Port)), target, from, until)
		result = spoken
		return made
	})
	spoken := result
	result = found.result()
	if found.outcome == Allowed {
		result.Outcome, result.Reason, result.Failure, result.Stage = spoken.Outcome, spoken.Reason, spoken.Failure, spoken.Stage
		result.Reply, result.SeenSource, result.answered = spoken.Reply, spoken.SeenSource, spoken.answered
	}
	return result
}

// exchangeSCTP makes an association until the deadline, and asks what the target says. The second is what came of asking.
func exchangeSCTP(target netip.AddrPort, wish Target, from netip.AddrPort, deadline time.Time) (verdict, Result) {
	heard, hearErr := listenICMP(target.Addr().Is6())
	if hearErr == nil {
		defer func() { _ = syscall.Close(heard) }()
	}
	judge := func(fd int, err error, sent bool) verdict { return judgeSCTP(fd, heard, hearErr, err, sent, target) }
	fd, err := openOf(syscall.SOCK_STREAM, protocolSCTP, target, from)
	if fd < 0 {
		if errors.Is(err, syscall.EPROTONOSUPPORT) || errors.Is(err, syscall.ESOCKTNOSUPPORT) {
			return verdict{outcome: Errored, reason: noSCTP, remote: target}, Result{}
		}
		return judge(-1, err, false), Result{}
	}
	defer func() { _ = syscall.Close(fd) }()
	if err != nil && !errors.Is(err, syscall.EINPROGRESS) {
		return judge(fd, err, false), Result{}
	}
	if !await(fd, pollOut, deadline) {
		return judge(fd, syscall.ETIMEDOUT, true), Result{}
	}
	if err := pending(fd); err != nil {
		return judge(fd, err, true), Result{}
	}
	return verdict{outcome: Allowed, local: localAddress(fd), remote: target}, converseSCTP(fd, wish, deadline)
}

// converseSCTP asks on an association, and reads the answer; that none comes counts only where the target says what to ask.
func converseSCTP(fd int, target Target, deadline time.Time) Result {
	result := Result{Outcome: Allowed}
	question, isAsked := "hostname", target.Payload != "" || target.AskSource
	switch {
	case target.AskSource:
		question = "clientip"
	case target.Payload != "":
		question = target.Payload
	}
	if end := time.Now().Add(courtesy); !isAsked && end.Before(deadline) {
		deadline = end
	}
	_, err := syscall.Write(fd, []byte(question))
	if err == nil && !await(fd, pollIn, deadline) {
		err = context.DeadlineExceeded
	}
	size, buffer := 0, make([]byte, maxReply)
	if err == nil {
		size, err = syscall.Read(fd, buffer)
	}
	if size > 0 {
		result.Reply, result.answered = strings.ToValidUTF8(string(buffer[:size]), "\uFFFD"), time.Now()
	}
	switch {
	case !isAsked:
	case err != nil:
		afterConnect(err, "the payload", &result)
	case size <= 0:
		result.Failure = "connected, but closed without an answer to the payload"
	case target.AskSource:
		result.seen()
	}
	return result
}

// judgeSCTP makes a verdict of an error and of the ICMP messages that came meanwhile: SCTP's sockets have no queue that knows their sender.
func judgeSCTP(fd, heard int, hearErr, err error, sent bool, target netip.AddrPort) verdict {
	result := verdict{outcome: Allowed, remote: target}
	if fd >= 0 {
		result.local = localAddress(fd)
		if hearErr == nil {
			if message, ok := nextICMP(heard, result.local.Port(), target); ok {
				result.icmp = &ICMP{Type: int(message.kind), Code: int(message.code), From: message.from.String()}
				result.outcome, result.reason = fromICMP(message, target.Addr())
				return result
			}
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			result.outcome = Errored
			result.reason = "refused, but by whom can't be told: ICMP can't be listened to (" + hearErr.Error() + ")"
			return result
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		result.outcome, result.reason = fromErrno(errno, sent)
	} else {
		result.outcome, result.reason = Errored, err.Error()
	}
	return result
}

// listenICMP hears what this network namespace is told by ICMP, from now on.
func listenICMP(v6 bool) (int, error) {
	family, protocol := syscall.AF_INET, syscall.IPPROTO_ICMP
	if v6 {
		family, protocol = syscall.AF_INET6, protocolICMPv6
	}
	return syscall.Socket(family, syscall.SOCK_RAW|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, protocol)
}

// nextICMP takes the next message about a packet of SCTP from a port to a target; false if there is none.
func nextICMP(heard int, port uint16, target netip.AddrPort) (extendedError, bool) {
	buffer := make([]byte, 2048)
	for {
		size, sender, err := syscall.Recvfrom(heard, buffer, 0)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return extendedError{}, false
		}
		if message, ok := aboutSCTP(buffer[:size], port, target); ok {
			message.from = addressOf(sender)
			return message, true
		}
	}
}

func addressOf(sender syscall.Sockaddr) netip.Addr {
	switch address := sender.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrFrom4(address.Addr)
	case *syscall.SockaddrInet6:
		return netip.AddrFrom16(address.Addr)
	}
	return netip.Addr{}
}

// aboutSCTP reads an ICMP error as raw sockets give it (of IPv4 with its header): whether it is about a packet of SCTP from a port to a target.
func aboutSCTP(packet []byte, port uint16, target netip.AddrPort) (extendedError, bool) {
	const headICMP, head6, destination6 = 8, 40, 24
	v6 := target.Addr().Is6()
	if !v6 {
		if len(packet) < 1 || len(packet) < int(packet[0]&15)*4 {
			return extendedError{}, false
		}
		packet = packet[int(packet[0]&15)*4:]
	}
	if len(packet) < headICMP+head6 && v6 || len(packet) < headICMP+20 {
		return extendedError{}, false
	}
	message := extendedError{origin: originICMP, kind: packet[0], code: packet[1]}
	inner := packet[headICMP:]
	var ports []byte
	var destination netip.Addr
	if v6 {
		message.origin = originICMP6
		if message.kind != 1 || inner[6] != protocolSCTP {
			return extendedError{}, false
		}
		destination, ports = netip.AddrFrom16([16]byte(inner[destination6:head6])), inner[head6:]
	} else {
		length := int(inner[0]&15) * 4
		if message.kind != 3 || inner[9] != protocolSCTP || len(inner) < length {
			return extendedError{}, false
		}
		destination, ports = netip.AddrFrom4([4]byte(inner[16:20])), inner[length:]
	}
	if len(ports) < 4 || destination != target.Addr().WithZone("") {
		return extendedError{}, false
	}
	own, other := binary.BigEndian.Uint16(ports), binary.BigEndian.Uint16(ports[2:])
	return message, own == port && other == target.Port()
}
