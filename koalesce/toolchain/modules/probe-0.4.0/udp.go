package main

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"syscall"
	"time"
)

// probeUDP sends one datagram and waits for one. A server that doesn't answer can't be told from a filter.
func probeUDP(ctx context.Context, target Target, deadline time.Time) Result {
	addresses, from, err := ends(ctx, target)
	if err != nil {
		return Result{Outcome: Errored, Reason: err.Error()}
	}
	payload := target.Payload
	switch {
	case target.AskSource:
		payload = "clientip"
	case payload == "":
		payload = "hostname"
	}
	var reply []byte
	found := tryEach(addresses, deadline, func(address netip.Addr, until time.Time) verdict {
		answer, found := exchangeUDP(netip.AddrPortFrom(address, uint16(target.Port)), []byte(payload), from, until)
		reply = answer
		return found
	})
	result := found.result()
	if found.outcome == Allowed {
		result.Reply = strings.ToValidUTF8(string(reply), "\uFFFD")
		if target.AskSource {
			result.seen()
		}
	}
	return result
}

const (
	// Kernels tell a peer of a closed port once a second, after a first few (icmp_ratelimit, icmp(7)), so that silence is believed only
	// after more than that, and the datagram is sent again meanwhile, also later than a second after the first: a closed port that is
	// asked often must not look like a filter.
	silence = 1500 * time.Millisecond
	again   = 300 * time.Millisecond
)

// exchangeUDP sends a datagram, again and again, and returns the answer, which is nil unless the outcome is allowed.
func exchangeUDP(target netip.AddrPort, payload []byte, from netip.AddrPort, deadline time.Time) ([]byte, verdict) {
	fd, err := open(syscall.SOCK_DGRAM, target, from)
	if fd < 0 {
		return nil, judge(-1, err, false, target)
	}
	defer func() { _ = syscall.Close(fd) }()
	if err != nil {
		return nil, judge(fd, err, false, target)
	}
	end := time.Now().Add(silence)
	if deadline.After(end) {
		end = deadline
	}
	buffer := make([]byte, maxReply)
	for sent := 0; time.Now().Before(end); sent++ {
		if _, err := syscall.Write(fd, payload); err != nil {
			return nil, judge(fd, err, sent > 0, target)
		}
		pause := time.Now().Add(again)
		if pause.After(end) {
			pause = end
		}
		for await(fd, pollIn, pause) {
			size, err := syscall.Read(fd, buffer)
			if err == nil && time.Now().After(deadline) {
				return nil, verdict{outcome: Dropped, reason: "an answer came, but too late", local: localAddress(fd), remote: target}
			}
			if err == nil {
				return buffer[:size], verdict{outcome: Allowed, local: localAddress(fd), remote: target}
			}
			found := judge(fd, err, true, target)
			if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR) || found.icmp != nil {
				return nil, found
			}
		}
	}
	return nil, judge(fd, syscall.ETIMEDOUT, true, target)
}
